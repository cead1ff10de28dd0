"""Two copies of a bucket: what its primary and its standby do, as rules without any input or output.

`Primary` and `Standby` are told what has happened and say what may happen next; nothing here has a socket, a disk or a
thread. The rules are argued for in docs/replication.md; tests/replication searches their orders of events.
"""
