"""The store's authority: how what follows a topology is decided.

One acceptor, bucket 0's storage, decides by itself, with one synced batch. Several decide by Paxos, one instance for each
epoch, and any bucket of the store may propose.
"""
