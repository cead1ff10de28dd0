"""Requests that the API must refuse, and keys that it must take: one table for the app alone and for the real service."""

from __future__ import annotations

from typing import NamedTuple

TEXT = (b"content-type", b"text/plain")


class BadRequest(NamedTuple):
    """A request as it goes over the wire, and the problem that must come back."""

    method: str
    target: bytes
    status: int
    #: Words that the detail must hold.
    says: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


#: A key of 1,025 bytes in 513 characters: the limit counts bytes.
_LONG = b"%c3%a4" * 512 + b"a"

BAD_REQUESTS = (
    # the key
    BadRequest("GET", b"/get/", 422, "empty"),
    BadRequest("GET", b"/get?key=", 422, "empty"),
    BadRequest("DELETE", b"/delete/", 422, "empty"),
    BadRequest("DELETE", b"/delete?key", 422, "empty"),
    BadRequest("PUT", b"/put?key=&value=1", 422, "empty"),
    BadRequest("GET", b"/get/" + b"a" * 1025, 422, "1,025 bytes"),
    BadRequest("GET", b"/get/" + _LONG, 422, "1,025 bytes"),
    BadRequest("GET", b"/get?key=" + _LONG, 422, "1,025 bytes"),
    BadRequest("DELETE", b"/delete/" + _LONG, 422, "1,025 bytes"),
    BadRequest("DELETE", b"/delete?key=" + _LONG, 422, "1,025 bytes"),
    BadRequest("PUT", b"/put?value=1&key=" + _LONG, 422, "1,025 bytes"),
    BadRequest("GET", b"/get", 422, "'key' is missing"),
    BadRequest("DELETE", b"/delete", 422, "'key' is missing"),
    BadRequest("PUT", b"/put", 422, "'key' is missing"),
    BadRequest("PUT", b"/put?value=1", 422, "'key' is missing"),
    # bytes that are not UTF-8: a stray byte, a cut sequence, an overlong slash, half of a surrogate pair, beyond Unicode
    BadRequest("GET", b"/get/%ff", 422, "not UTF-8"),
    BadRequest("GET", b"/get/%c3", 422, "not UTF-8"),
    BadRequest("GET", b"/get/%c0%af", 422, "not UTF-8"),
    BadRequest("GET", b"/get/%ed%a0%80", 422, "not UTF-8"),
    BadRequest("GET", b"/get/%f4%90%80%80", 422, "not UTF-8"),
    BadRequest("DELETE", b"/delete/a%ff", 422, "byte 1 (0xff)"),
    BadRequest("GET", b"/get?key=%ff", 422, "'key' is not UTF-8"),
    BadRequest("DELETE", b"/delete?key=%ff", 422, "'key' is not UTF-8"),
    BadRequest("PUT", b"/put?key=%ff&value=1", 422, "'key' is not UTF-8"),
    BadRequest("PUT", b"/put?key=a&value=%ff", 422, "'value' is not UTF-8"),
    BadRequest("GET", b"/get?%ff=a", 422, "a parameter's name is not UTF-8"),
    # percent signs that begin no escape
    BadRequest("GET", b"/get/%", 422, "two hex digits"),
    BadRequest("GET", b"/get/%4", 422, "two hex digits"),
    BadRequest("GET", b"/get/%zz", 422, "two hex digits"),
    BadRequest("GET", b"/get/100%25%", 422, "two hex digits"),
    BadRequest("GET", b"/get?key=%zz", 422, "two hex digits"),
    BadRequest("GET", b"/get?ke%=a", 422, "two hex digits"),
    BadRequest("PUT", b"/put?key=a&value=%u0041", 422, "two hex digits"),
    # parameters
    BadRequest("GET", b"/get?key=a&key=b", 422, "'key' is given more than once"),
    BadRequest("GET", b"/get?key=a&key=a", 422, "'key' is given more than once"),
    BadRequest("GET", b"/get?key=a&%6bey=b", 422, "'key' is given more than once"),
    BadRequest("PUT", b"/put?key=a&value=1&value=2", 422, "'value' is given more than once"),
    BadRequest("GET", b"/get?key=a&kee=b", 422, "unknown parameter 'kee'"),
    BadRequest("GET", b"/get?key=a&value=b", 422, "unknown parameter 'value'"),
    BadRequest("GET", b"/get?Key=a", 422, "unknown parameter 'Key'"),
    BadRequest("GET", b"/get?=a", 422, "unknown parameter ''"),
    BadRequest("PUT", b"/put?key=a&value=1&ttl=2", 422, "unknown parameter 'ttl'"),
    BadRequest("GET", b"/get?" + b"x" * 5000, 422, "unknown parameter 'xxx"),
    BadRequest("GET", b"/get/a?key=a", 422, "no query parameter"),
    BadRequest("DELETE", b"/delete/a?b", 422, "no query parameter"),
    # the value
    BadRequest("PUT", b"/put?key=a", 422, "value is missing"),
    BadRequest("PUT", b"/put?key=a", 422, "value is missing", headers=((b"content-length", b"0"),)),
    BadRequest("PUT", b"/put?key=a&value=1", 422, "given twice", body=b"2", headers=(TEXT,)),
    BadRequest("PUT", b"/put?key=a&value=", 422, "given twice", body=b"2", headers=(TEXT,)),
    BadRequest("PUT", b"/put?key=a", 422, "the body is not UTF-8", body=b"ab\xff", headers=(TEXT,)),
    BadRequest("PUT", b"/put?key=a", 422, "the body is not UTF-8", body="ä".encode()[:1], headers=(TEXT,)),
    BadRequest("PUT", b"/put?key=a", 422, "Content-Type", body=b"b", headers=((b"content-type", b"\xff"),)),
    BadRequest("PUT", b"/put?key=a", 422, "Content-Type", body=b"b", headers=((b"content-type", b"a" * 256),)),
    BadRequest("GET", b"/get/a", 422, "takes no body", body=b"b"),
    BadRequest("DELETE", b"/delete/a", 422, "takes no body", body=b"b"),
    # routes and methods
    BadRequest("GET", b"/nope", 404, "no route /nope"),
    BadRequest("GET", b"/nope/%ff%zz", 404, "no route"),
    BadRequest("GET", b"/get%2fa", 422, "percent-encoded"),
    BadRequest("GET", b"/put/", 404, "no route /put/"),
    BadRequest("GET", b"/health/", 404, "no route /health/"),
    BadRequest("GET", b"/docs/assets/..%2f..%2fapp.py", 404, "no route"),
    BadRequest("GET", b"/put?key=a&value=b", 405, "/put does not take GET"),
    BadRequest("POST", b"/put?key=a&value=b", 405, "/put does not take POST"),
    BadRequest("PUT", b"/get/a", 405, "/get/a does not take PUT", body=b"b"),
    BadRequest("POST", b"/get", 405, "does not take POST"),
    BadRequest("PATCH", b"/delete/a", 405, "does not take PATCH"),
    BadRequest("GET", b"/delete", 405, "does not take GET"),
    BadRequest("OPTIONS", b"/get/a", 405, "does not take OPTIONS"),
    BadRequest("DELETE", b"/health", 405, "does not take DELETE"),
    BadRequest("PUT", b"/topology", 405, "does not take PUT"),
)

#: What a 405 must name as allowed, by path.
ALLOWED = {"put": "PUT", "get": "GET, HEAD", "delete": "DELETE", "health": "GET", "topology": "GET"}

#: Keys that a careless path or query would change, split or lose. Each is one key and no other's.
ODD_KEYS = (
    "a/b",
    "/",
    "//",
    "/a//b/",
    " ",
    "a b",
    "%",
    "%2F",
    "%41",
    "+",
    "a+b",
    "?",
    "a?key=b",
    "#",
    "a#b",
    "&key=b",
    "=",
    ";",
    "\\",
    '"',
    "\0",
    "a\0b",
    "\t\r\n",
    "\x7f",
    ".",
    "..",
    "../x",
    "a/../b",
    "./a",
    "...",
    "🙂",
    "👩\u200d👩\u200d👧",
    "ä",
    "a\u0308",  # the same to the eye as the one before, and another key
    "\ufeff",
    "\u202eabc",
    "\uffff",
    "\U0010ffff",
    "key",
    "get",
    "a" * 1024,
    "ä" * 512,
    "🙂" * 256,
)
