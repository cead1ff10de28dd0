"""What every answer of the API that is not a success must be, whatever went wrong."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Answered(NamedTuple):
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def check_problem(answer: Answered, status: int) -> str:
    """Assert that the answer is an RFC 9457 problem with this status; its detail."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert "Traceback" not in answer.body.decode(), answer
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail"}, document
    assert document["type"].startswith("urn:cloud-storage:"), document
    assert document["status"] == status, document
    assert document["title"], document
    assert document["detail"], document
    return str(document["detail"])
