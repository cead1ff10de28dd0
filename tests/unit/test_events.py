"""Events: one JSON object a line, at the configured level."""

import json

import pytest

from serve_app import events


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("INFO")
    events.info("bucket opened", bucket=3, folder="/data/ä\nb")
    events.debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["level"], event["event"], event["bucket"], event["folder"]) == (
        "INFO",
        "bucket opened",
        3,
        "/data/ä\nb",
    )


def test_the_level_is_the_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("ERROR")
    events.warning("not shown")
    events.error("shown", exc_info=ValueError("why"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: why" in json.loads(line)["traceback"]
