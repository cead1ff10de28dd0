"""The routes of `/v1`."""

from __future__ import annotations

from typing import Any

from serve_app.http.declarations import MANY, VALUES, answered_with
from serve_app.http.parameters import KEY_IN_QUERY
from serve_app.http.routes import KEY_PATH, Route
from serve_app.http.v1 import parameters as declared
from serve_app.http.v1.batch import Batches
from serve_app.http.v1.counters import Counters
from serve_app.http.v1.keys import Keys
from serve_app.http.v1.kv import Values
from serve_app.http.v1.models import BatchAnswer, ImportAnswer, IncrementAnswer, KeysAnswer, TouchAnswer
from serve_app.http.v1.transfer import Transfer
from serve_app.http.v1.watch import Watching

_READ_ERRORS = (401, 403, 404, 412, 416, 421, 422, 503)
_HEAD_ERRORS = (401, 403, 404, 412, 421, 422, 503)
_PUT_ERRORS = (400, 401, 403, 408, 412, 413, 415, 421, 422, 503, 504, 507)
_DELETE_ERRORS = (401, 403, 404, 412, 421, 422, 503, 504)
_QUERY_FORM = "For keys that clients fold out of paths: `.`, `..`, and leading slashes."
_UNCHANGED = {"description": "The client has it already.", "headers": declared.WHERE}


def _both_forms(method: str, handler: Any, name: str, summary: str, description: str, **rest: Any) -> list[Route]:
    """A route with the key in the path, and the same with the key as a parameter."""
    routes = []
    parameters: list[dict[str, Any]] = rest["request"]["parameters"]
    for place, key in zip(("path", "query"), declared.KEYS, strict=True):
        in_path = place == "path"
        routes.append(
            Route(
                method,
                f"/v1/kv/{KEY_PATH}" if in_path else "/v1/kv",
                Values,
                handler,
                f"{name}_{place}",
                VALUES,
                summary if in_path else f"{summary}, the key as a parameter",
                description if in_path else _QUERY_FORM,
                rest["successes"],
                rest["statuses"],
                rest["request"] | {"parameters": [key, *parameters]},
            )
        )
    return routes


V1_ROUTES = (
    *_both_forms(
        "GET",
        Values.get,
        "kv_get",
        "Read a value",
        "The value's bytes as they were stored, with their Content-Type. `Range` asks for one range of them.",
        successes={
            200: {"description": "The value.", "headers": declared.METADATA, "content": declared.VALUE_CONTENT},
            206: {"description": "The range.", "headers": declared.METADATA, "content": declared.VALUE_CONTENT},
            304: _UNCHANGED,
        },
        statuses=_READ_ERRORS,
        request={"parameters": [*declared.READ_CONDITIONS, declared.RANGE]},
    ),
    *_both_forms(
        "HEAD",
        Values.head,
        "kv_head",
        "What a value is like",
        "The headers of a GET, without the value.",
        successes={200: {"description": "It is there.", "headers": declared.METADATA}, 304: _UNCHANGED},
        statuses=_HEAD_ERRORS,
        request={"parameters": declared.READ_CONDITIONS},
    ),
    *_both_forms(
        "PUT",
        Values.put,
        "kv_put",
        "Store a value",
        "The body is the value. Answered once it is on disk. A put without `ttl` or `expires_at` leaves a record that never "
        "expires.",
        successes={
            200: {"description": "Updated, and on disk.", "headers": declared.WHERE},
            201: {"description": "Created, and on disk.", "headers": declared.WHERE},
        },
        statuses=_PUT_ERRORS,
        request={
            "parameters": [declared.TTL, declared.EXPIRES_AT, *declared.WRITE_CONDITIONS],
            "requestBody": declared.RAW_BODY,
        },
    ),
    *_both_forms(
        "DELETE",
        Values.delete,
        "kv_delete",
        "Delete a key",
        "Answered once the disk knows. The ETag is that of the deletion.",
        successes={204: {"description": "Deleted, and the disk knows.", "headers": declared.WHERE}},
        statuses=_DELETE_ERRORS,
        request={"parameters": declared.WRITE_CONDITIONS},
    ),
    Route(
        "POST",
        "/v1/increment",
        Counters,
        Counters.increment,
        "increment",
        VALUES,
        "Add to a number",
        "The number is kept as decimal text, of 64 bits with a sign; a key without a record counts from 0. A value that is "
        "no number, or would be too large, is answered 409 and stays as it is. `ttl` (seconds) is for a record that "
        "is made by this.",
        answered_with(IncrementAnswer, "Added, and on disk."),
        (401, 403, 408, 409, 412, 413, 415, 421, 422, 503, 504, 507),
        {
            "parameters": [KEY_IN_QUERY | {"example": "visits"}, *declared.WRITE_CONDITIONS],
            "requestBody": {
                "required": False,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "by": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "default": 1},
                                "ttl": {"type": "number", "minimum": 0.001, "maximum": 3_153_600_000},
                            },
                        },
                        "example": {"by": 1},
                    }
                },
            },
        },
    ),
    Route(
        "POST",
        "/v1/touch",
        Counters,
        Counters.touch,
        "touch",
        VALUES,
        "Have a record expire at another time",
        "In `ttl` seconds, or at `expires_at`; `expires_at=never` has it stay. Its value and Last-Modified stay as they are.",
        answered_with(TouchAnswer, "Done, and on disk."),
        (401, 403, 404, 412, 421, 422, 503, 504, 507),
        {
            "parameters": [
                KEY_IN_QUERY,
                declared.TTL | {"example": 3600},
                declared.EXPIRES_AT,
                *declared.WRITE_CONDITIONS,
            ]
        },
    ),
    Route(
        "GET",
        "/v1/keys",
        Keys,
        Keys.list,
        "keys",
        MANY,
        "List keys",
        "The keys of the whole store in the order of their bytes, a page at a time. A key that is there throughout is listed "
        "exactly once, also while the number of buckets changes.",
        answered_with(KeysAnswer, "A page."),
        (401, 403, 421, 422, 503),
        {
            "parameters": [
                declared.query("prefix", "Only keys that begin with it.", {"type": "string", "maxLength": 1024}),
                declared.query("start_after", "Only names behind this one.", {"type": "string", "maxLength": 1024}),
                declared.query(
                    "delimiter",
                    "Keys that hold it behind the prefix are told together, as one of the `common_prefixes`.",
                    {"type": "string", "maxLength": 1024},
                ),
                declared.query(
                    "limit", "Names on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}
                ),
                declared.query("values", "Whether values are told too.", {"type": "boolean", "default": False}),
            ]
        },
    ),
    Route(
        "POST",
        "/v1/batch",
        Batches,
        Batches.batch,
        "batch",
        MANY,
        "Many operations in one request",
        "Up to 1,000 of get, put, delete, touch and increment, in JSON or msgpack (where a value is bytes). They are carried "
        "out in order, and each is answered as it would be alone; nothing holds them together beyond that. The body has at "
        "most 16 MiB.",
        answered_with(BatchAnswer, "The results, in order."),
        (401, 403, 408, 413, 415, 421, 422, 503),
        {"requestBody": declared.BATCH_BODY},
    ),
    Route(
        "GET",
        "/v1/watch",
        Watching,
        Watching.watch,
        "watch",
        MANY,
        "Follow what changes",
        "Server-sent events `put`, `delete` and `expire`, each with the key and its revision, from now on or from the event "
        "whose id is given. It never ends by itself (this page shows nothing of it: use curl -N). An event `dropped` or "
        "`history-lost` is the last one: the watch did not keep up, or the store can't tell what came next.",
        {200: {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        (401, 403, 410, 421, 422, 503),
        {
            "parameters": [
                declared.query("prefix", "Only keys that begin with it.", {"type": "string", "maxLength": 1024}),
                declared.query(
                    "values",
                    "Whether a put is told with the value that there is then.",
                    {"type": "boolean", "default": False},
                ),
                declared.LAST_EVENT_ID,
                declared.query("last_event_id", "The same, where no header can be sent.", {"type": "string"}),
            ]
        },
    ),
    Route(
        "GET",
        "/v1/export",
        Transfer,
        Transfer.export,
        "export",
        MANY,
        "Export records",
        "All records with the prefix, one on each line in the order of their keys, with their metadata; in base64 only where "
        'a value is not UTF-8 text. The last line is `{"exported": n}`: without it the export is not whole, and goes on with '
        "its last key as `start_after`. Keys that come or go meanwhile may be in it or not.",
        {200: {"description": "Lines of JSON.", "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
        (401, 403, 421, 422, 503),
        {
            "parameters": [
                declared.query("prefix", "Only keys that begin with it.", {"type": "string", "maxLength": 1024}),
                declared.query("start_after", "Only keys behind this one.", {"type": "string", "maxLength": 1024}),
            ]
        },
    ),
    Route(
        "POST",
        "/v1/import",
        Transfer,
        Transfer.import_,
        "import",
        MANY,
        "Import records",
        "Stores what an export wrote, with its metadata; what has expired since is left out. Where it stops before the end "
        "the error says how many records were stored (`imported`), and the first `line` that was not.",
        answered_with(ImportAnswer, "All of it is on disk."),
        (401, 403, 408, 413, 415, 421, 422, 503, 504, 507),
        {
            "requestBody": {
                "required": True,
                "content": {
                    # Media types are case-insensitive (RFC 9110, 8.3.1), and Swagger UI would quote the lines as one string
                    # of JSON if it saw "json" here.
                    "application/x-NDJSON": {
                        "schema": {"type": "string"},
                        "example": '{"key": "hello", "value": "world", "content_type": "text/plain"}\n',
                    }
                },
            }
        },
    ),
)
