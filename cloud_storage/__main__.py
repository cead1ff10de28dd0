"""`python -m cloud_storage`: the client's commands alone."""

from cloud_storage.commands.app import client_app

client_app(prog_name="python -m cloud_storage")
