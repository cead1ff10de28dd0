"""Structured logs: one JSON object a line, for each event that matters to an operator.

The standard library's logging does the work; this fixes the shape (`time`, `level`, `event`, then the event's fields) so
that a log collector needs no parser, and keeps secrets out by never formatting objects it was not given by name.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_logger = logging.getLogger("serve_app")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Send events of this level and above to standard error, where Ray picks them up. Safe to call again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False


def debug(event: str, **fields: Any) -> None:
    _logger.debug(event, extra={"fields": fields})


def info(event: str, **fields: Any) -> None:
    _logger.info(event, extra={"fields": fields})


def warning(event: str, **fields: Any) -> None:
    _logger.warning(event, extra={"fields": fields})


def error(event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
    _logger.error(event, extra={"fields": fields}, exc_info=exc_info)
