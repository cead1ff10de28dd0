"""Tests of real servers and connections in one process, over loopback, without Ray: tests/support/local_store.py has most of
what they share."""
