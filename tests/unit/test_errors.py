"""The tree of exceptions is the one that is drawn in errors.py."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import serve_app
from serve_app import errors
from serve_app.errors import StoreError

_DRAWN = re.compile(r"^    (?P<branch>[│├└─ ]*)(?P<name>\w+)(?: +(?P<file>\S+\.py))?$", re.MULTILINE)


def drawn() -> dict[str, tuple[int, str]]:
    """How deep each class is, and in which file, by the docstring."""
    assert errors.__doc__ is not None
    return {
        found["name"]: (len(found["branch"]) // 4, found["file"] or "errors.py")
        for found in _DRAWN.finditer(errors.__doc__)
    }


def derived(base: type[StoreError], depth: int = 0) -> Iterator[tuple[str, tuple[int, str]]]:
    """Likewise, by the code."""
    if base.__module__.startswith("serve_app."):
        yield base.__name__, (depth, "/".join(base.__module__.split(".")[1:]) + ".py")
    for each in base.__subclasses__():
        yield from derived(each, depth + 1)


def test_it_is_drawn_as_it_is() -> None:
    for module in pkgutil.walk_packages(serve_app.__path__, "serve_app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert drawn() == dict(derived(StoreError))
