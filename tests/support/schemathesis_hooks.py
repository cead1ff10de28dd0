"""What the OpenAPI document can't say, told to schemathesis. Loaded by its command line (SCHEMATHESIS_HOOKS).

The rules only drop requests that the document calls valid and the API rightly refuses, or that are refused in a way that is
no status. Requests that are invalid by the document are all sent but for items of a batch, each of which is answered for
itself.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

MAX_KEY_BYTES = 1024
MAX_URL_CHARACTERS = 10_000

#: What each idempotency key was first drawn for.
_NAMED: dict[str, str] = {}
_TAGS = re.compile(r'\*|"[0-9]+"(, "[0-9]+")*')


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    if not _fits_the_proxy(case):
        return False
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return not _is_a_batch(case)
    return all(
        rule(case) for rule in (_key_fits, _has_one_value, _tags_fit, _has_one_time, _is_a_record, _counts, _names_one)
    )


@schemathesis.serializer("application/x-ndjson", "application/x-NDJSON")
def lines(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _fits_the_proxy(case: Case[Any]) -> bool:
    """HAProxy itself answers what is longer than its buffer, with a status of its own; a character may be twelve in a URL."""
    parts = [*(case.path_parameters or {}).values(), *(case.query or {}).values()]
    return sum(len(quote(str(part), errors="surrogatepass")) for part in parts) <= MAX_URL_CHARACTERS


def _is_a_batch(case: Case[Any]) -> bool:
    body: Any = case.body
    items = body.get("operations") if isinstance(body, dict) and case.operation.label == "POST /v1/batch" else None
    return isinstance(items, list) and 0 < len(items) <= 1000 and not set(body) - {"operations"}


def _tags_fit(case: Case[Any]) -> bool:
    """What is drawn for a pattern does not always keep to it."""
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    return all(_TAGS.fullmatch(headers[name]) for name in ("if-match", "if-none-match") if name in headers)


def _has_one_time(case: Case[Any]) -> bool:
    """A record expires at one time, which is not past; OpenAPI has no such rules."""
    query = case.query or {}
    at = query.get("expires_at")
    if at is None:
        return "ttl" in query or case.operation.label != "POST /v1/touch"
    return "ttl" not in query and (at == "never" or (str(at).isdigit() and time.time() < int(at) < 10**11))


def _is_a_record(case: Case[Any]) -> bool:
    """A text is lines of JSON, or not; OpenAPI can't say which."""
    if case.operation.label != "POST /v1/import":
        return True
    try:
        return all("key" in json.loads(line) for line in str(case.body).splitlines())
    except (ValueError, TypeError):
        return False


def _names_one(case: Case[Any]) -> bool:
    """An idempotency key may have been drawn for another request before, and is that one's alone. A short one also by a run
    before this."""
    headers = {name.lower(): str(value) for name, value in (case.headers or {}).items()}
    named = headers.get("idempotency-key")
    if named is None:
        return True
    request = repr((case.operation.label, case.path_parameters, case.query, headers, case.body))
    return len(named) >= 12 and _NAMED.setdefault(named, request) == request


def _counts(case: Case[Any]) -> bool:
    """1.0 is an integer in JSON Schema, and none in most languages."""
    if case.operation.label not in ("POST /v1/batch", "POST /v1/increment"):
        return True
    body: Any = case.body if isinstance(case.body, dict) else {}
    items: list[Any] = body.get("operations", [body])
    return not any(isinstance(item.get("by"), float) for item in items)


def _key_fits(case: Case[Any]) -> bool:
    """JSON Schema's maxLength counts characters; a key's limit counts the bytes of its UTF-8."""
    key = (case.path_parameters or {}).get("key", (case.query or {}).get("key", ""))
    return not isinstance(key, str) or len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES


def _has_one_value(case: Case[Any]) -> bool:
    """A put's value is a parameter or the body, and not both; OpenAPI has no such rule across the two."""
    if case.operation.label != "PUT /put":
        return True
    has_body = isinstance(case.body, (str, bytes)) and len(case.body) > 0
    return ("value" in (case.query or {})) != has_body
