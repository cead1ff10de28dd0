"""`python -m serve_app`: the command line (`cli/`)."""

from serve_app.cli.entry import main

main("python -m serve_app")
