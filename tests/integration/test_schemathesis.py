"""Schemathesis holds the running service against its own OpenAPI document, with all its checks.

Its command line, because only that runs every phase: the document's examples, the borders of each parameter, random
requests valid and not, and sequences that follow the document's links (put, then read and delete).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.running_store import ROOT, RunningStore

pytestmark = pytest.mark.ray

_EXAMPLES_PER_OPERATION = 50


def test_the_service_keeps_to_its_openapi_document(store: RunningStore, tmp_path: Path) -> None:
    # A condition that is valid and not met is no refusal of the request.
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(
        "[checks.positive_data_acceptance]\n"
        'expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 416, 429, "5xx"]\n'
    )
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={settings}",
            "run",
            f"{store.url}/openapi.json",
            "--checks=all",
            "--exclude-path=/v1/watch",  # which never ends: tests/integration/test_v1.py
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-examples={_EXAMPLES_PER_OPERATION}",
            "--continue-on-failure",
            "--no-color",
        ],
        cwd=tmp_path,  # it leaves notes of its runs behind
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    # That it has really tried: all operations, all phases, all links.
    assert "23 selected / 24 total" in run.stdout, run.stdout
    assert "2 covered / 2 selected / 2 total" in run.stdout, run.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in run.stdout, run.stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert generated, run.stdout
    assert int(generated[1]) == int(generated[2]) > 200
