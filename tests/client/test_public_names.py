"""What is public is in `__all__`, and on the page that describes it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import cloud_storage
from cloud_storage import AsyncStore, Store

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_nothing_is_public_that_is_not_named() -> None:
    modules = {name for name in public(cloud_storage) if inspect.ismodule(getattr(cloud_storage, name))}
    assert public(cloud_storage) - modules == set(cloud_storage.__all__)


def test_every_name_and_every_method_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    assert set(cloud_storage.__all__) <= words
    assert public(Store) <= words


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert public(Store) - {"mapping"} == public(AsyncStore)
    for name in public(AsyncStore):
        one, other = (inspect.signature(getattr(kind, name)) for kind in (Store, AsyncStore))
        assert one.parameters == other.parameters, name
        documented = inspect.getdoc(getattr(AsyncStore, name)) or ""
        assert documented.startswith((f"See Store.{name}.", "Close")), name
