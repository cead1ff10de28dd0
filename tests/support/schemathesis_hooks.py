"""What the OpenAPI document can't say, told to schemathesis. Loaded by its command line (SCHEMATHESIS_HOOKS).

Both rules only drop requests that the document calls valid and the API rightly refuses. Requests that are invalid by the
document are all sent.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

MAX_KEY_BYTES = 1024


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return True
    return _key_fits(case) and _has_one_value(case)


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
