"""The routes of `/v1`."""

from __future__ import annotations

from typing import Any

from serve_app.http.declarations import VALUES, answered_with
from serve_app.http.parameters import KEY_IN_QUERY
from serve_app.http.routes import KEY_PATH, Route
from serve_app.http.v1 import parameters as declared
from serve_app.http.v1.counters import Counters
from serve_app.http.v1.kv import Values
from serve_app.http.v1.models import IncrementAnswer, TouchAnswer

_READ_ERRORS = (404, 412, 416, 421, 422, 503)
_HEAD_ERRORS = (404, 412, 421, 422, 503)
_PUT_ERRORS = (400, 408, 412, 413, 415, 421, 422, 503, 504, 507)
_DELETE_ERRORS = (404, 412, 421, 422, 503, 504)
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
        (408, 409, 412, 413, 415, 421, 422, 503, 504, 507),
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
        (404, 412, 421, 422, 503, 504, 507),
        {
            "parameters": [
                KEY_IN_QUERY,
                declared.TTL | {"example": 3600},
                declared.EXPIRES_AT,
                *declared.WRITE_CONDITIONS,
            ]
        },
    ),
)
