"""A base install has no Ray and little else: the client's commands work there, and others say what is missing. And no command
imports what it does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.client.served import Served

#: What a base install has, beside Python itself: these, and what they need.
INSTALLED = {
    *("aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "multidict", "propcache", "yarl", "idna"),
    *("msgspec", "typer", "click", "shellingham", "annotated_doc", "typing_extensions"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection"),  # of typer
    *("rich", "markdown_it", "mdurl", "pygments", "cloud_storage", "serve_app"),
}
BLOCKED = f"""
import sys

class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        ours = first in {INSTALLED!r} or first.startswith(("__editable__", "_sysconfigdata"))
        if not ours and first not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, OnlyTheBase())
"""


def run(code: str, *arguments: str, url: str = "http://127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    # The shell that runs the tests may be one that Typer has no completion for.
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    environment = {**os.environ, **shell, "CLOUD_STORAGE_URL": url, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )


def command(*arguments: str, url: str = "http://127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    """`cloud-storage …` where nothing of the server is installed."""
    return run(BLOCKED + "from serve_app.cli.entry import main; main('cloud-storage')", *arguments, url=url)


def test_the_clients_commands_work_without_the_server(http_store: Served) -> None:
    assert command("put", "imports/a", "value", url=http_store.url).returncode == 0
    done = command("get", "imports/a", url=http_store.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "value", "")
    done = command("bench", "--records", "10", "--operations", "20", url=http_store.url)
    assert (done.returncode, done.stderr) == (0, "")
    for options in (
        ["--help"],
        ["get", "--help"],
        ["run", "--help"],
        ["token", "--help"],
        ["--show-completion", "bash"],
    ):
        done = command(*options)
        assert (done.returncode, done.stderr) == (0, ""), done


@pytest.mark.parametrize(
    "words",
    ["run", "environment", "demo", "status", "verify", "accept-loss 1 --yes", "token list", "token create a --scope read",
     "token revoke a"],
)  # fmt: skip
def test_what_needs_the_server_says_so(words: str) -> None:
    done = command(*words.split())
    name = " ".join(word for word in words.split()[:2] if words.startswith("token")) or words.split()[0]
    assert done.stderr.startswith(f"error: `{name}` needs the server: pip install 'cloud-storage[server]' (no "), done
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_module_of_our_own_that_is_missing_is_a_mistake_and_shows() -> None:
    code = "import sys; sys.modules['serve_app.cli.status'] = None; from serve_app.cli.main import app; app()"
    done = run(code, "status")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_a_command_imports_little() -> None:
    code = "import sys\nfrom serve_app.cli.main import app\nprint(*sys.modules)"
    done = run(code)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported.isdisjoint({"ray", "httpx", "fastapi", "pydantic", "aiohttp", "rich", "uvloop", "psutil"}), (
        done.stderr
    )
    assert "asyncio" not in imported
