"""A durable key-value store that lives inside a Ray cluster.

`serve_app.app:build` is what a Serve configuration imports; `python -m serve_app` is the command line.
"""

__version__ = "0.1.0"
