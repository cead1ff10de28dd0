"""How a command ends: the exit statuses that scripts go by, and one sentence on standard error."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec

import typer

from cloud_storage import errors
from cloud_storage.commands import standard

P = ParamSpec("P")


class Status(IntEnum):
    """docs/commands.md describes them."""

    DONE = 0
    NO = 1  # no such key; of `bench`: not all was as it should be
    USAGE = 2
    CONDITION_FAILED = 3
    REFUSED = 4
    UNAVAILABLE = 5
    UNKNOWN = 6
    INTERRUPTED = 130  # as a shell shows SIGINT
    CLOSED_PIPE = 141  # and SIGPIPE
    TERMINATED = 143  # and SIGTERM


class Ended(Exception):
    """A command can't go on; `str()` is the sentence to show, without one nothing is."""

    def __init__(self, status: Status, sentence: str = "") -> None:
        super().__init__(sentence)
        self.status = status


def status_of(error: errors.StoreError) -> Status:
    """What an error of the store is to a script."""
    if isinstance(
        error, errors.SomeFailed
    ):  # what matters most: may something have happened, then what might work later
        found = {status_of(each) for each in error.errors.values()}
        return max(found & {Status.UNKNOWN, Status.UNAVAILABLE} or found)
    if isinstance(error, errors.ConditionFailed):
        return Status.CONDITION_FAILED
    if isinstance(error, errors.Unavailable | errors.Interrupted):
        return Status.UNAVAILABLE
    if isinstance(error, errors.Refused | errors.HistoryLost):
        return Status.REFUSED
    return Status.UNKNOWN


def complain(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(f"error: {sentence}", err=True)


def ending(command: Callable[P, int | None]) -> Callable[P, None]:
    """A command whose errors end it with a sentence and a status; what it returns is the status."""

    @functools.wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        raise typer.Exit(_status(lambda: command(*args, **options)))

    return run


def _status(command: Callable[[], int | None]) -> int:
    standard.replace_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # names are that, whatever the terminal's language is
    try:
        status = command() or Status.DONE
        sys.stdout.flush()  # what it could not write is found here, not when Python ends
        return status
    except Ended as ended:
        if str(ended):
            complain(str(ended))
        return ended.status
    except errors.StoreError as error:
        complain(str(error))
        return status_of(error)
    except BrokenPipeError:
        standard.forget_output()
        return Status.CLOSED_PIPE
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except UnicodeEncodeError:
        complain("a key, a prefix or a name that is not valid UTF-8 text")
        return Status.USAGE
    except ValueError as error:  # an argument that the client does not take
        complain(str(error))
        return Status.USAGE
    except OSError as error:
        standard.forget_output()
        # Where nothing has named the file it is standard output: all others are named by whoever writes them.
        file = error.filename2 or error.filename or "standard output"
        complain(f"{os.fsdecode(file)}: {error.strerror}" if error.strerror else str(error))
        return Status.REFUSED
