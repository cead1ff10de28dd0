"""The availability table, filled by the tests and printed at the end."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kubernetes.load_pod import Account


@dataclass(frozen=True)
class Row:
    """What one failure cost. failing_s: from the failure to the last request that failed of it."""

    case: str
    requests: int
    per_second: float
    failed: int
    statuses: str
    failing_s: float
    longest_s: float
    acknowledged: int
    back_s: float


ROWS: list[Row] = []


def add_row(case: str, account: Account, at: float, back_s: float) -> None:
    """Add what a failure cost. at: when it happened; back_s: how long after that everything was whole again."""
    failures = account.failures
    statuses = sorted({f"{failure['method']} {failure['status']}" for failure in failures})
    ROWS.append(
        Row(
            case=case,
            requests=account["requests"],
            per_second=account["per_second"],
            failed=len(failures),
            statuses=", ".join(statuses),
            failing_s=max((failure["ended"] - at for failure in failures), default=0.0),
            longest_s=account["longest_s"],
            acknowledged=account["acknowledged"],
            back_s=back_s,
        )
    )


def table() -> str:
    lines = [
        "| case | requests | 1/s | failed | how | failing for | longest request | keys read back | whole again after |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        lines.append(
            f"| {row.case} | {row.requests:,} | {row.per_second:.0f} | {row.failed} | {row.statuses or '-'} "
            f"| {f'{row.failing_s:.1f} s' if row.failed else '-'} | {row.longest_s:.1f} s "
            f"| {row.acknowledged:,}, none lost | {row.back_s:.0f} s |"
        )
    return "\n".join(lines)
