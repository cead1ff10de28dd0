"""What the routes say of themselves in the OpenAPI document: answers, and every error with an example."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import BaseModel

_ERRORS = {
    400: ("partial-put", "Values are stored whole", "a value is stored as a whole: Content-Range is not taken"),
    401: ("unauthorized", "A token is needed", "the request's token is not one of this store's"),
    403: ("forbidden", "The token does not allow it", "the token 'reports' lacks the scope 'write'"),
    404: ("key-not-found", "No such key", "no record has the key 'hello'"),
    408: (
        "upload-timeout",
        "The request body stopped arriving",
        "no more of the body came for 10 s; nothing was stored",
    ),
    409: ("not-text", "The value is not text", "the value is not UTF-8 text; its bytes are at /v1/kv?key=hello"),
    410: (
        "history-lost",
        "Those changes are not known any more",
        "bucket-1 knows its changes since revision 5000 only",
    ),
    412: (
        "condition-failed",
        "The condition is not met; nothing changed",
        "the key 'hello' does not meet the condition: it has revision 7",
    ),
    413: (
        "value-too-large",
        "Value too large",
        "a value has at most 26,214,400 bytes; this one has 30,000,000 or more",
    ),
    415: (
        "unsupported-encoding",
        "The body's encoding or type is not taken",
        "values are kept as they are: send it without Content-Encoding",
    ),
    416: (
        "range-not-satisfiable",
        "No byte of the value is in the range",
        "no byte of the value is in the range; it has 5 bytes",
    ),
    421: (
        "misdirected-request",
        "Misdirected Request",
        "this store does not answer to the host that the request names (args.allowed_hosts)",
    ),
    422: ("invalid-request", "Bad key or parameter", "the parameter 'key' is missing"),
    503: ("unavailable", "Refused for now; nothing changed", "bucket-1 is away: the connection broke"),
    504: (
        "outcome-unknown",
        "The write's outcome is not known",
        "the connection to bucket-1 broke after the put was sent",
    ),
    507: (
        "disk-full",
        "The bucket's disk is full; nothing changed",
        "bucket-1: the disk has less than its reserve left",
    ),
}
VALUES, MANY, RECORDS, STORE = "Values", "Many keys", "The first API", "The store"
TAGS = [
    {"name": VALUES, "description": "A key's value as it is, with conditions, expiry, and counters."},
    {"name": MANY, "description": "Lists, batches, watches, export and import."},
    {"name": RECORDS, "description": "Put, get and delete, with JSON for answers."},
    {"name": STORE, "description": "Is it up, and how are its buckets?"},
]

DESCRIPTION = """A durable key-value store that lives inside a Ray cluster. To look into it there is a [console](console).

Keys are UTF-8 text of 1 to 1,024 bytes, values any bytes up to 25 MiB. **An acknowledged write is on disk.**
Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem document: switch on its `type`, show its
`detail`.

| answer | did a write happen? | what to do |
| --- | --- | --- |
| 200, 201, 204 | yes, and it is on disk | |
| 304 | it was only read: you have it already | |
| 401, 403 | no: the store wants a token (another one) | send `Authorization: Bearer …`: `detail` says what is missing |
| 404 | no such key, so there was nothing to do | |
| 408 | no: the body stopped arriving, or had to give way to others | send it again |
| 400, 413, 415, 416, 422 | no: the request is wrong as it is | mend it: `detail` says how |
| 409 | no: the value is no number, or no text | |
| 410 | the watch asks for what is not known any more | list the keys, and watch from now on |
| 412 | no: the record is not as the condition wants it | look at it again: `ETag` |
| 421 | no: the store does not go by the name in the URL | use another, or `allowed_hosts` in its configuration |
| 503 | no: refused for now | try again after `Retry-After` seconds |
| 504, or anything that is not this API's JSON | **not known** | with an `Idempotency-Key` send it again, else read |
| 507 | no: the disk is full | free or add space; reads and deletes go on |
"""


#: Where to go on from a put; also what a tester follows from one request to the next.
_LINKS = {
    "Read": {"operationId": "get_query", "parameters": {"key": "$response.body#/key"}},
    "Delete": {"operationId": "delete_query", "parameters": {"key": "$response.body#/key"}},
}


def declaration(
    name: str,
    tag: str,
    successes: dict[int, dict[str, Any]],
    statuses: tuple[int, ...],
    request: dict[str, Any] | None = None,
    *,
    with_bodies: bool = True,
) -> dict[str, Any]:
    """Keyword arguments that declare a route to FastAPI.

    name: the operation id. successes: what good answers are like, by status. statuses: the errors there are. request:
    parameters and body, as OpenAPI has them. with_bodies: not so for a HEAD.
    """
    responses: dict[int | str, dict[str, Any]] = dict(successes.items())
    if name == "put":
        responses[200] = responses[200] | {"links": _LINKS}
    for status in statuses:
        kind, title, detail = _ERRORS[status]
        responses[status] = {"description": title}
        if with_bodies:
            example = {"type": f"urn:cloud-storage:{kind}", "title": title, "status": status, "detail": detail}
            responses[status]["content"] = {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
            }
        if status in (401, 403):
            responses[status]["headers"] = {
                "WWW-Authenticate": {"description": "What is asked for (RFC 6750).", "schema": {"type": "string"}}
            }
        if status == 503:
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
    declared: dict[str, Any] = {
        "operation_id": name, "tags": [tag], "responses": responses, "openapi_extra": request or {},
    }  # fmt: skip
    if any("model" in success for success in successes.values()):
        return declared
    return declared | {"response_class": Response, "status_code": min(successes)}


def answered_with(model: type[BaseModel], description: str) -> dict[int, dict[str, Any]]:
    """200 with a JSON body."""
    return {200: {"description": description, "model": model}}
