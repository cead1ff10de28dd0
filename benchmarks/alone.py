"""What runs one of the measurements by itself: its options, a folder that is gone afterwards, and its bars."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.bars import Bar

T = TypeVar("T")


def arguments(program: str, about: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser of what all take: --rounds and --data-dir. program: the module's name, in this package."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{program}", description=about)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--data-dir", type=Path, default=Path("build"), help="a folder on the disk to measure")
    return parser


@contextmanager
def stage_folder(program: str, data_dir: Path) -> Iterator[Path]:
    """A folder for a stage, which is not there yet, on the disk to measure."""
    data_dir.mkdir(parents=True, exist_ok=True)
    parent = Path(tempfile.mkdtemp(prefix=f"{program}-", dir=data_dir))
    try:
        yield parent / "stage"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def main(
    program: str, about: str | None, measure: Callable[..., list[T]], bars: Callable[[list[T]], Iterable[Bar]]
) -> None:
    """Measure some rounds, and say which bars they meet. measure: called with the folder, and rounds, seconds and say."""
    parser = arguments(program, about, rounds=3)
    parser.add_argument("--seconds", type=int, default=5)
    options: Any = parser.parse_args()
    with stage_folder(program, options.data_dir) as folder:
        rounds = measure(
            folder, rounds=options.rounds, seconds=options.seconds, say=lambda text: print(text, flush=True)
        )
    for bar in bars(rounds):
        print(f"{'met   ' if bar.met else 'MISSED'} {bar.figure}: {bar.measured} ({bar.wanted})")
