"""The demo against a store behind real HTTP: it finds all that it loads, goes on where connections break, and says what is
lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_storage import Store
from serve_app.cli import demo as demo_module
from serve_app.cli.demo import demo
from serve_app.command_output.failure import Failure
from tests.client.served import Relay, Served

COUNT = 1_200


def data(tmp_path: Path, prefix: str) -> Path:
    """Keys and values of many kinds."""
    values = ["", "plain", "ä\n\0🙂", "x" * 5_000]
    path = tmp_path / "data.jsonl"
    with path.open("w") as file:
        for number in range(COUNT):
            file.write(json.dumps({"key": f"{prefix}{number}?#%", "value": values[number % 4] * 2}) + "\n")
        file.write(json.dumps({"key": f"{prefix}0?#%", "value": "the last counts"}) + "\n")
    return path


def test_nothing_is_lost_where_connections_break_and_what_is_lost_is_found(
    http_store: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, relay = data(tmp_path, "demo/"), Relay(http_store.url)
    relay.answer_bytes = 10
    try:
        with pytest.raises(Failure, match="no store answers"):  # the first question is asked once
            demo(relay.url, path, 2, check_only=False)
    finally:
        relay.close()
    assert demo(http_store.url, path, 4, check_only=False) == 0
    said = capsys.readouterr().out
    assert f"nothing lost: all {COUNT:,} records are there, byte for byte" in said
    assert "Loaded" in said
    assert "Where they are" in said
    with Store(http_store.url) as store:
        assert store.delete("demo/7?#%")
        store.put("demo/8?#%", "8!")
    assert demo(http_store.url, path, 4, check_only=True) == 1
    said = capsys.readouterr().out
    assert f"2 of {COUNT:,} records are lost" in said
    assert "'demo/7?#%': no such key" in said
    assert "'demo/8?#%': 2 bytes instead of 0, different from byte 0 on" in said
    assert "Loaded" not in said


def test_what_had_to_be_sent_again_is_counted(
    http_store: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, relay = data(tmp_path, "demo again/"), Relay(http_store.url)
    asked = demo_module.topology

    def break_the_next(url: str) -> object:
        relay.answer_bytes = None
        found = asked(http_store.url)
        relay.request_bytes = 1_000
        return found

    monkeypatch.setattr(demo_module, "topology", break_the_next)
    try:
        assert demo(relay.url, path, 1, check_only=False) == 0
    finally:
        relay.close()
    assert "1 requests were sent again: " in capsys.readouterr().out


def test_a_store_that_stays_away_ends_it_with_a_sentence(
    http_store: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = demo_module.topology
    monkeypatch.setattr(demo_module, "topology", lambda url: asked(http_store.url))
    monkeypatch.setattr(demo_module, "PATIENCE_S", 0.1)
    with pytest.raises(Failure, match=r"of the keys failed; the first is 'demo/.*was not answered in time"):
        demo("http://127.0.0.1:1", data(tmp_path, "demo/"), 2, check_only=False)
