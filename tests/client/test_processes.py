"""The commands as shells run them: pipes, Ctrl-C, terminals, completion."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from cloud_storage import Store
from cloud_storage.commands import completion
from tests.client.commands import process
from tests.client.served import Served
from tests.support.waiting import until


@pytest.fixture(scope="module")
def filled(http_store: Served) -> Served:
    with Store(http_store.url) as store:
        store.put_many((f"process/{number:05}", "x" * 100) for number in range(3000))
        store.put_many((f"complete/{name}", "") for name in ("alpha", "alpine", "be ta", "ne\nw", "$(id)"))
    return http_store


def ended(command: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = command.communicate(timeout=60)
    return command.returncode, out, err


def test_bytes_go_through_pipes_as_they_are(http_store: Served) -> None:
    value = bytes(range(256)) * 1000
    command = process(http_store, "put", "process/bytes")
    out, err = command.communicate(value, timeout=60)
    assert (command.returncode, out, err) == (0, b"", b"")
    assert ended(process(http_store, "get", "process/bytes")) == (0, value, b"")
    assert ended(process(http_store, "put", os.fsencode("process/é"), b"\xff\xfe")) == (0, b"", b"")  # type: ignore[arg-type]
    assert ended(process(http_store, "get", "process/é"))[1] == b"\xff\xfe"
    assert ended(process(http_store, "get", "process/nowhere")) == (
        1, b"", b'error: no record has the key "process/nowhere"\n',
    )  # fmt: skip


@pytest.mark.parametrize("words", [["ls", "process/"], ["export", "-", "--prefix", "process/"]])
def test_a_pipe_that_nobody_reads_ends_it_quietly(filled: Served, words: list[str]) -> None:
    command = process(filled, *words)
    assert command.stdout is not None
    command.stdout.read(10)
    command.stdout.close()
    assert command.stderr is not None
    assert (command.stderr.read(), command.wait(60)) == (b"", 141)
    command.stderr.close()


def test_a_watch_shows_changes_at_once_and_ends_with_ctrl_c(http_store: Served) -> None:
    with process(http_store, "watch", "process/watch", "--values", "--json") as command:
        assert command.stdout is not None
        with Store(http_store.url) as store:
            number = 0
            os.set_blocking(command.stdout.fileno(), False)
            line = None
            while not line:  # until it watches
                assert command.poll() is None
                number += 1
                store.put("process/watch", str(number))
                line = command.stdout.readline()
        told = json.loads(line)
        assert (told["event"], told["key"]) == ("put", "process/watch")
        assert 1 <= int(told["value"]) <= number
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
        assert command.stderr is not None
        assert command.stderr.read() == b""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("records", "there"), [(100, 100), (20_000, 1)])
def test_a_bench_that_is_stopped_leaves_nothing_behind(
    http_store: Served, stop: signal.Signals, records: int, there: int
) -> None:
    """Neither while it loads nor later: what was on its way to the store has come to its end before it is removed."""
    words = ["bench", "--prefix", "stopped/", "--seconds", "100", "--records", str(records), "--rate", "0.5"]
    with process(http_store, *words) as command:
        with Store(http_store.url) as store:
            while len(list(islice(store.list("stopped/"), there))) < there:
                assert command.poll() is None
            command.send_signal(stop)
            assert command.wait(60) == 128 + stop
            assert list(store.list("stopped/")) == []
        assert command.stdout is not None
        assert command.stderr is not None
        assert (command.stdout.read(), command.stderr.read()) == (b"", b"")


def test_names_are_utf_8_whatever_the_language_is(filled: Served) -> None:
    with Store(filled.url) as store:
        store.put("language/ä€", "")
    for words in (["ls", "language/"], ["ls", "language/", "--null"]):
        done = ended(process(filled, *words, env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}))
        assert (done[0], done[1][:-1], done[2]) == (0, "language/ä€".encode(), b"")


def test_an_import_of_a_pipe_with_a_name_is_one_of_a_stream(http_store: Served, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = process(http_store, "import", str(pipe))
    pipe.write_bytes(b'{"key":"process/pipe","value":""}\n{"exported":1}\n')
    assert ended(command) == (0, b"", b"Imported 1 records.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert ended(process(http_store, "import", str(pipe), "--resume"))[0] == 2


def test_who_waits_at_a_terminal_is_told_for_what() -> None:
    leader, follower = pty.openpty()
    command = process("http://127.0.0.1:1", "get", "a", "--timeout", "3", stderr=follower)
    os.close(follower)
    assert command.wait(60) == 5
    said = os.read(leader, 65536).decode()
    os.close(leader)
    assert said.count("waiting for the store: ") == 1
    assert "error: GET /v1/kv was not answered in time" in said


def test_a_store_that_is_away_is_told_in_one_line() -> None:
    status, out, err = ended(process("http://127.0.0.1:1", "put", "a", "b", "--timeout", "0.01"))
    assert (status, out, err.count(b"\n")) == (5, b"", 1)
    assert err.startswith(b"error: PUT /v1/kv was not answered in time: ")


def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(filled: Served, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = process(filled, "export", str(tmp_path / "a"), stderr=follower, env={"TERM": "xterm"})
    os.close(follower)
    shown = b""
    while True:
        try:
            some = os.read(leader, 65536)
        except OSError:  # as Linux tells the end of a terminal
            break
        if not some:
            break
        shown += some
    os.close(leader)
    assert command.wait(60) == 0
    assert b"Exporting" in shown
    assert b"records" in shown
    assert ended(process(filled, "export", str(tmp_path / "b")))[2].count(b"\n") == 1
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_a_value_and_at_a_terminal_nothing_is_waited_for(http_store: Served) -> None:
    leader, follower = pty.openpty()
    command = process(http_store, "put", "process/none", stdin=follower)
    status, _, err = ended(command)
    os.close(leader)
    os.close(follower)
    assert (status, b"no value: type one" in err) == (2, True)


@pytest.mark.parametrize("words", ["get process/00001", "ls process/", "export -", "increment process/n", "bench"])
def test_a_closed_output_is_told_where_something_would_be_written(filled: Served, words: str) -> None:
    status, err = in_a_shell(filled, f"{words} >&-")
    assert (status, err) == (4, b"error: standard output: it is closed\n")


@pytest.mark.parametrize("words", ["put process/closed", "put process/closed -", "import -"])
def test_a_closed_input_is_told_where_it_would_be_read(filled: Served, words: str) -> None:
    assert in_a_shell(filled, f"{words} <&-") == (4, b"error: standard input: it is closed\n")


def test_who_needs_neither_input_nor_output_does_not_mind_that_they_are_closed(filled: Served) -> None:
    assert in_a_shell(filled, "put process/closed kept <&- >&- 2>&-") == (0, b"")
    assert ended(process(filled, "get", "process/closed"))[1] == b"kept"
    assert in_a_shell(filled, "get process/nowhere >&- 2>&-") == (1, b"")


def test_an_output_that_has_no_room_is_named(filled: Served) -> None:
    for words in ("get process/00001", "ls process/", "increment process/n"):
        assert in_a_shell(filled, f"{words} >/dev/full") == (4, b"error: standard output: No space left on device\n")


def in_a_shell(store: Served, words: str) -> tuple[int, bytes]:
    """Its status, and what it says on standard error."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m cloud_storage {words}"],
        env={**os.environ, "CLOUD_STORAGE_URL": store.url},
        capture_output=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_ctrl_c_before_the_commands_are_there_ends_it_without_a_word() -> None:
    """The signal comes in the middle of an import."""
    code = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""
    done = subprocess.run([sys.executable, "-c", code + SCRIPT, "ls"], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = subprocess.run(
        [sys.executable, "-c", f"{ignored}\n{code}{SCRIPT}", "get", "--help"], capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b""), "whoever started it may have it ignored"


# -- completion ------------------------------------------------------------------------------------------------------------


#: The entry point of the wheel.
SCRIPT = "from serve_app.cli.entry import main; main('cloud-storage')"


def completed(store: Served | str, words: str) -> list[str]:
    """What bash is offered for the last word."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={
            **os.environ,
            "CLOUD_STORAGE_URL": store if isinstance(store, str) else store.url,
            "_CLOUD_STORAGE_COMPLETE": "complete_bash",
            "COMP_WORDS": f"cloud-storage {words}",
            "COMP_CWORD": str(len(words.split(" "))),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_keys_are_completed(filled: Served) -> None:
    assert completed(filled, "incr") == ["increment"]
    assert "--if-revision" in completed(filled, "put --i")
    # Keys that do not come in a moment are not offered, and a machine may be busy.
    until(lambda: completed(filled, "get complete/alp") == ["complete/alpha", "complete/alpine"])
    until(lambda: completed(filled, "delete complete/alpha complete/alpi") == ["complete/alpine"])
    until(
        lambda: completed(filled, "ls complete/") == ["complete/alpha", "complete/alpine"]
    )  # what is no word is left out
    until(lambda: len(completed(filled, "get process/")) == completion.MOST)
    assert {"run", "get"} <= set(completed(filled, ""))


def test_where_no_store_answers_nothing_is_offered_and_nothing_said() -> None:
    assert completed("http://127.0.0.1:1", "get a") == []
    assert completed("nonsense", "get a") == []


def test_the_store_of_the_words_before_is_asked(filled: Served) -> None:
    asked = f"get --url {filled.url} complete/alp"
    until(lambda: completed("http://127.0.0.1:1", asked) == ["complete/alpha", "complete/alpine"])
    assert completed(filled, "get --token-file /nowhere complete/alp") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_made(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "_CLOUD_STORAGE_COMPLETE" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, timeout=60).returncode == 0
