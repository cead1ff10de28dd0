"""What the figures of the README and docs/performance.md come from: `python -m benchmarks`, which is `make bench`.

Everything is started here, in one run on one machine, and measured interleaved: an absolute figure says more about the
machine and its neighbours than about the store, so what counts is the ratio to an empty handler measured seconds before
or after.
"""
