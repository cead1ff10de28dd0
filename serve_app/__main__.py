"""`python -m serve_app`: the command line (`cli/`)."""

from serve_app.cli.main import app

app(prog_name="python -m serve_app")
