"""The Redis protocol: a second face of a directory, with the guarantees of the first (docs/redis.md).

It needs a directory and nothing of Ray or HTTP.
"""
