"""What a bucket's actor answers, and what it is made from, is understood between releases whose modules have other names."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from ray import cloudpickle

from serve_app.cluster.build import build_of
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.settings import Settings

PICKLED = pytest.mark.parametrize(
    ("what", "module", "earlier"),
    [
        (EndpointAnswer(None, "a fault", False, "f", 1), "endpoint_answer", "answers"),
        (build_of(Settings(data_dir=Path("data"))), "build", "fingerprint"),
    ],
)


@PICKLED
def test_what_is_pickled_names_the_module_that_the_release_before_has(what: object, module: str, earlier: str) -> None:
    """An earlier directory asks a bucket that has been replaced, until it is replaced itself."""
    named = cloudpickle.dumps(what, protocol=2)  # type: ignore[no-untyped-call]  # which writes names as they are
    assert f"serve_app.cluster.{earlier}\n".encode() in named
    assert f"serve_app.cluster.{module}\n".encode() not in named
    assert pickle.loads(named) == what


@PICKLED
def test_a_class_is_found_by_the_name_that_its_module_has_now(what: object, module: str, earlier: str) -> None:
    named = pickle.dumps(what, protocol=2)
    renamed = named.replace(f"serve_app.cluster.{earlier}\n".encode(), f"serve_app.cluster.{module}\n".encode())
    assert renamed != named
    assert pickle.loads(renamed) == what
