"""The store for a process inside its Ray cluster: the clients' `Store` and `AsyncStore`, straight to the buckets.

Such a process has a directory of its own, and nothing of HTTP. `cluster/connecting.py` finds the store for it.
"""
