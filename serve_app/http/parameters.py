"""The parameters and bodies of the API's routes, as OpenAPI describes them.

The routes take the raw request (`requests.py` says why), so their parameters are written down here instead of in signatures.
"""

from __future__ import annotations

_KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 1024}
_KEY_TEXT = "UTF-8 text of 1 to 1,024 bytes. Any character is allowed; slashes and spaces too."
KEY_IN_PATH = {
    "name": "key", "in": "path", "required": True, "schema": _KEY_SCHEMA, "description": _KEY_TEXT, "example": "hello",
}  # fmt: skip
KEY_IN_QUERY = KEY_IN_PATH | {"in": "query"}
VALUE_IN_QUERY = {
    "name": "value", "in": "query", "required": False, "schema": {"type": "string"}, "example": "world",
    "description": "The value, for short ones: a URL holds some 16 kB. Leave it out to send the value as the body.",
}  # fmt: skip
TEXT_BODY = {
    "required": False,
    "description": "The value, where the parameter `value` is left out: UTF-8 text of up to 25 MiB.",
    # The empty default is for the page: it would otherwise fill in a sample body beside the sample parameter, which
    # is refused.
    "content": {"text/plain": {"schema": {"type": "string", "default": ""}}},
}
