"""The store's API built the obvious way, its second half: a FastAPI server that keeps a dict and rewrites a JSON file.

Each write makes a new file, syncs it and renames it over the old one: like the store's own, an acknowledged write is on
disk, and a crash leaves a whole file. Run as `uvicorn benchmarks.apps.obvious_bucket:app`; the environment says which file is
its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from fastapi import FastAPI, HTTPException

FILE_VARIABLE = "BENCHMARK_BUCKET_FILE"


def make_app(path: Path) -> FastAPI:
    """A server of the records in this file, which may not be there yet."""
    records: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    app = FastAPI()

    @app.put("/record", response_model=None)
    async def put(key: str, value: str) -> dict[str, str]:
        action = "updated" if key in records else "created"
        records[key] = value
        save()
        return {"action": action}

    @app.get("/record", response_model=None)
    async def get(key: str) -> dict[str, str]:
        if key not in records:
            raise HTTPException(404)
        return {"value": records[key]}

    def save() -> None:
        new = path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(records, file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)

    return app


app = make_app(Path(os.environ[FILE_VARIABLE])) if FILE_VARIABLE in os.environ else None
