"""What a bucket that an earlier release made has pickled is read by this one, whose modules have other names."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from serve_app.cluster.build import build_of
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.settings import Settings


@pytest.mark.parametrize(
    ("what", "module", "earlier"),
    [
        (EndpointAnswer(None, "a fault", False, "f", 1), "endpoint_answer", "answers"),
        (build_of(Settings(data_dir=Path("data"))), "build", "fingerprint"),
    ],
)
def test_a_class_is_found_by_the_name_that_its_module_had(what: object, module: str, earlier: str) -> None:
    named = pickle.dumps(what, protocol=2)  # which writes names as they are
    renamed = named.replace(f"serve_app.cluster.{module}\n".encode(), f"serve_app.cluster.{earlier}\n".encode())
    assert renamed != named
    assert pickle.loads(renamed) == what
