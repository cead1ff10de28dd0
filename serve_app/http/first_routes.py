"""The routes of the first API."""

from __future__ import annotations

from serve_app.http.declarations import RECORDS, answered_with
from serve_app.http.first_api import FirstApi
from serve_app.http.models import DeleteAnswer, GetAnswer, PutAnswer
from serve_app.http.parameters import KEY_IN_PATH, KEY_IN_QUERY, TEXT_BODY, VALUE_IN_QUERY
from serve_app.http.routes import KEY_PATH, Route

_READ_ERRORS = (401, 403, 404, 409, 421, 422, 503)
_DELETE_ERRORS = (*_READ_ERRORS, 504)

FIRST_ROUTES = (
    Route(
        "PUT",
        "/put",
        FirstApi,
        FirstApi.put,
        "put",
        RECORDS,
        "Store a value",
        "Store a value under a key, new or not. The value is the parameter `value` or the request's body, not both.\n\n"
        "Answered once it is on disk.",
        answered_with(PutAnswer, "Stored, and on disk."),
        (401, 403, 408, 413, 421, 422, 503, 504, 507),
        {"parameters": [KEY_IN_QUERY, VALUE_IN_QUERY], "requestBody": TEXT_BODY},
    ),
    Route(
        "GET",
        f"/get/{KEY_PATH}",
        FirstApi,
        FirstApi.get,
        "get_path",
        RECORDS,
        "Read a value",
        "The value of a key. Keys with dots alone between slashes (`.` and `..`) need the form with a parameter.",
        answered_with(GetAnswer, "The value."),
        _READ_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "GET",
        "/get",
        FirstApi,
        FirstApi.get,
        "get_query",
        RECORDS,
        "Read a value, the key as a parameter",
        "The value of a key, given as a parameter: for keys that clients would fold out of a path.",
        answered_with(GetAnswer, "The value."),
        _READ_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
    Route(
        "HEAD",
        f"/get/{KEY_PATH}",
        FirstApi,
        FirstApi.head,
        "head_path",
        RECORDS,
        "How long a GET's answer is",
        "Whether the key is there, and the Content-Length of what GET would send, without sending it.",
        {200: {"description": "The key is there."}},
        _READ_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "HEAD",
        "/get",
        FirstApi,
        FirstApi.head,
        "head_query",
        RECORDS,
        "How long a GET's answer is, the key as a parameter",
        "As the form with the key in the path, for keys that clients would fold out of a path.",
        {200: {"description": "The key is there."}},
        _READ_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
    Route(
        "DELETE",
        f"/delete/{KEY_PATH}",
        FirstApi,
        FirstApi.delete,
        "delete_path",
        RECORDS,
        "Delete a key",
        "Delete a key; the answer holds the value that it had. Answered once that is on disk.",
        answered_with(DeleteAnswer, "Deleted, and the disk knows."),
        _DELETE_ERRORS,
        {"parameters": [KEY_IN_PATH]},
    ),
    Route(
        "DELETE",
        "/delete",
        FirstApi,
        FirstApi.delete,
        "delete_query",
        RECORDS,
        "Delete a key, given as a parameter",
        "Delete a key, given as a parameter: for keys that clients would fold out of a path.",
        answered_with(DeleteAnswer, "Deleted, and the disk knows."),
        _DELETE_ERRORS,
        {"parameters": [KEY_IN_QUERY]},
    ),
)
