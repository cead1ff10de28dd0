"""The parameters, headers and bodies of `/v1`, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from serve_app.http.parameters import KEY_IN_PATH, KEY_IN_QUERY


def query(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A parameter in the query that may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description, **more}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


# What is made up for a header has to be one: a tester draws from the pattern.
_TAGS = r'^(\*|"[0-9]{1,15}"(, "[0-9]{1,15}"){0,3})$'
IF_MATCH = _header(
    "If-Match", 'Only where the record has this ETag: `"7"`, a list of them, or `*` for any.', pattern=_TAGS
)
IF_NONE_MATCH = _header(
    "If-None-Match", "Only where it has none of these. `*` in a PUT: only where there is no record.", pattern=_TAGS
)
IF_MODIFIED_SINCE = _header("If-Modified-Since", "304 where it was not modified since. An HTTP date.")
IF_UNMODIFIED_SINCE = _header("If-Unmodified-Since", "412 where it was modified since. An HTTP date.")
RANGE = _header("Range", "One range of bytes: `bytes=0-99`, `bytes=100-`, `bytes=-100`.")
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "Names the request: one that comes again within ten minutes gets the answer of the first, and changes nothing.",
    pattern="^[!-~]{1,64}$",
)
TTL = query(
    "ttl",
    "Seconds until the record expires, with at most three decimals.",
    {"type": "number", "exclusiveMinimum": 0, "maximum": 3_153_600_000, "multipleOf": 0.001},
)
EXPIRES_AT = query(
    "expires_at",
    "When the record expires instead: seconds since 1970, as RFC 3339 writes it, or `never`.",
    {"type": "string"},
)
READ_CONDITIONS = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE]
WRITE_CONDITIONS = [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, IDEMPOTENCY_KEY]
KEYS = (KEY_IN_PATH, KEY_IN_QUERY)
RAW_BODY = {
    "required": False,
    "description": "The value: any bytes, up to 25 MiB. Its Content-Type is kept with it.",
    "content": {
        "text/plain": {"schema": {"type": "string"}, "example": "world"},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


def answer_header(description: str, **schema: Any) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "schema": {"type": "string", **schema}}


ETAG = answer_header("The record's revision, in quotes.", pattern='^"[0-9]+"$')
WHERE = {
    "ETag": ETAG,
    "Bucket": answer_header("The bucket that holds it: SHA256(key) % bucket_count.", pattern="^[0-9]+$"),
    "Digest": answer_header("SHA256 of the key, in hex.", pattern="^[0-9a-f]{64}$"),
}
METADATA = WHERE | {
    "Last-Modified": answer_header("When the value was stored. An HTTP date."),
    "Expires-At": answer_header("When the record expires, as RFC 3339 writes it; absent where it never does."),
    "Accept-Ranges": answer_header("`bytes`"),
}
VALUE_CONTENT = {"*/*": {"schema": {"type": "string", "format": "binary"}}}

_ITEM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["op", "key"],
    "properties": {
        "op": {"enum": ["get", "put", "delete", "touch", "increment"]},
        "key": {"type": "string", "minLength": 1, "maxLength": 1024},
        "value": {"type": "string", "description": "Of a put, where it is text."},
        "value_base64": {"type": "string", "format": "byte", "description": "Of a put, where it is not."},
        "content_type": {"type": "string", "maxLength": 255},
        "ttl": {"type": "number", "minimum": 0.001, "maximum": 3_153_600_000},
        "expires_at": {"type": "string", "description": "As in the query of a put."},
        "by": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "default": 1},
        "if_match": {"type": "string", "description": "As the header If-Match."},
        "if_none_match": {"type": "string", "description": "As the header If-None-Match."},
        "idempotency_key": {"type": "string", "pattern": "^[!-~]{1,64}$"},
        "idempotency_ttl": {
            "type": "number",
            "minimum": 0.001,
            "maximum": 600,
            "description": "For how many seconds the key names it, where that need not be 600.",
        },
    },
}
_BATCH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["operations"],
    "properties": {"operations": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _ITEM}},
}
BATCH_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": _BATCH,
            "example": {
                "operations": [{"op": "put", "key": "hello", "value": "world"}, {"op": "get", "key": "hello"}],
            },
        },
    },
}
LAST_EVENT_ID = _header("Last-Event-ID", "The id of the last event that was heard: go on from there.")
