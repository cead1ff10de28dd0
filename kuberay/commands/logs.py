"""`logs`: what the store's pods write, by default only the store's own events."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator

from kuberay.api.rayservice import Document
from kuberay.observation import SELECTOR, part_of
from kuberay.session import Session
from serve_app.command_output.event_lines import format_event, parse_event
from serve_app.command_output.failure import Failure

_WHAT = re.compile(r"all|directory|head|redis|bucket-\d+")
_DURATION = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: Of each pod, unless --since or --follow asks for others.
_LAST_LINES = 10_000
_MAX_WAITING_LINES = 10_000
_NEW_PODS_EVERY_S = 2.0


def logs(session: Session, what: str, *, follow: bool, since: str | None, everything: bool) -> int:
    """Show them; with `follow`, until Ctrl-C.

    Raises:
        Failure: there is no such pod, or its log can't be read.
    """
    if not _WHAT.fullmatch(what):
        raise Failure(f"there are logs of all, directory, bucket-0 and so on, head and redis, not of {what!r}")
    since_s = seconds(since) if since is not None else None
    session.deployed()
    pods = _pods(session, what)
    if not pods and not follow:
        raise Failure(f"there are no pods of {'the store' if what == 'all' else what}")
    if follow:
        for line in _follow(session, what, since_s, everything):
            session.terminal.say(line)
    else:
        for line in _gathered(session, pods, since_s, everything):
            session.terminal.say(line)
    return 0


def seconds(duration: str) -> int:
    """`30s`, `10m`, `2h` or `1d` in seconds. Raises Failure for anything else."""
    match = _DURATION.fullmatch(duration)
    if not match or not int(match[1]):
        raise Failure(f"{duration!r} is not a duration; write 30s, 10m, 2h or 1d")
    return int(match[1]) * _SECONDS[match[2]]


def _pods(session: Session, what: str) -> list[Document]:
    pods = session.cluster.list_all("Pod", SELECTOR)
    started = [pod for pod in pods if (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")]
    return sorted((pod for pod in started if what in ("all", part_of(pod))), key=part_of)


def _gathered(session: Session, pods: list[Document], since_s: int | None, everything: bool) -> Iterator[str]:
    """What was written so far: the events of all pods in the order of their times, or pod by pod as it is."""
    events: list[tuple[str, str]] = []
    for pod in pods:
        tail = None if since_s is not None else _LAST_LINES
        for line in session.cluster.log_lines(pod["metadata"]["name"], since_s=since_s, tail=tail):
            if everything:
                yield _shown(part_of(pod), line)
            elif fields := parse_event(line):
                events.append((fields["time"], _shown(part_of(pod), format_event(fields))))
    yield from (text for _, text in sorted(events))


def _follow(session: Session, what: str, since_s: int | None, everything: bool) -> Iterator[str]:
    """What is written from now on, also by pods that come later."""
    lines: queue.Queue[str | Failure] = queue.Queue(_MAX_WAITING_LINES)
    following: dict[str, threading.Thread] = {}
    first = True

    def read(pod: Document, tail: int | None) -> None:
        try:
            for line in session.cluster.log_lines(
                pod["metadata"]["name"], follow=True, since_s=since_s if first else None, tail=tail
            ):
                fields = parse_event(line)
                if everything or fields:
                    lines.put(_shown(part_of(pod), line if everything or not fields else format_event(fields)))
        except Failure as failure:
            lines.put(failure)

    while True:
        for pod in _pods(session, what):
            uid = pod["metadata"]["uid"]
            if uid not in following:
                # Of a pod that is new all is news; of one that has long been there only what comes.
                tail = 10 if first and since_s is None else None
                following[uid] = threading.Thread(target=read, args=(pod, tail), daemon=True)
                following[uid].start()
        first = False
        try:
            while True:
                line = lines.get(timeout=_NEW_PODS_EVERY_S)
                if isinstance(line, Failure):
                    yield f"({line})"
                else:
                    yield line
        except queue.Empty:
            continue


def _shown(part: str, line: str) -> str:
    return f"{part:<9} {line}"
