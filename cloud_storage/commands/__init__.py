"""The client's commands, `cloud-storage get` and so on: they need aiohttp, msgspec, typer and rich, and nothing of the store.

`app.py` has them together, which `python -m cloud_storage` runs alone, and `cloud-storage` beside those of the store itself.
"""
