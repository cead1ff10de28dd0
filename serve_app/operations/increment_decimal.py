"""IncrementDecimal: add to a number with a fraction that is kept as decimal text."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import ClassVar

from serve_app.errors import NotADecimal, NumberOverflow
from serve_app.operations.answers import NotMet
from serve_app.operations.body import Answer
from serve_app.operations.increment import CONTENT_TYPE
from serve_app.operations.operation import VALUES_SINCE, Records, WriteOperation
from serve_app.records import Record, decode, encode

#: Digits behind the point that are kept, as Redis keeps them, and all digits of a number that is taken.
_FRACTION = Decimal(1).scaleb(-17)
_MAX_TEXT = 512
_EXACT = Context(prec=1024, rounding=ROUND_HALF_EVEN)
_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


class CountedDecimal(Answer, tag=22):
    """The number that the record holds now, as text."""

    value: bytes
    revision: int


class IncrementDecimal(WriteOperation[CountedDecimal | NotMet], tag=22):
    """by: what to add, as text. A key without a record counts from 0. Sums are exact to 17 digits behind the point; expiry
    stays as it is."""

    name: ClassVar[str] = "increment-decimal"
    since: ClassVar[int] = VALUES_SINCE
    needs_space: ClassVar[bool] = True
    creates: ClassVar[bool] = True
    by: bytes = b"1"

    def problem(self) -> str:
        return super().problem() or ("" if is_decimal(self.by) else "what is added is no decimal number")

    def change(self, records: Records, old: bytes | None) -> CountedDecimal:
        """Raises NotADecimal, NumberOverflow; nothing is changed then."""
        now_ms = records.now_ms
        record = Record(b"0", CONTENT_TYPE, 0, now_ms, now_ms) if old is None else decode(old)
        if is_infinite(record.value):
            raise NumberOverflow("increment would produce NaN or Infinity")
        if not is_decimal(record.value):
            raise NotADecimal("the value is not the text of a decimal number")
        before, by = Decimal(record.value.decode()), Decimal(self.by.decode())
        if max(before.adjusted(), by.adjusted()) >= _MAX_TEXT:  # before it is counted with: it might not fit into that
            raise NumberOverflow("increment would produce NaN or Infinity")
        total = _EXACT.add(before, by)
        value = text_of(total)
        if len(value) > _MAX_TEXT:
            raise NumberOverflow("increment would produce NaN or Infinity")
        revision = records.next_revision()
        records.put(self.key, encode(record._replace(value=value, revision=revision, modified_ms=now_ms)), revision)
        return CountedDecimal(value, revision)


def is_decimal(raw: bytes) -> bool:
    """Whether it is the text of a decimal number, with an exponent or without."""
    return len(raw) <= _MAX_TEXT and _DECIMAL.fullmatch(raw) is not None


def is_infinite(raw: bytes) -> bool:
    """Whether C's `strtold` would read it as infinity: a number, but nothing to count with."""
    return raw.lower().lstrip(b"+-") in (b"inf", b"infinity") and raw[1:2] not in (b"+", b"-")


def text_of(number: Decimal) -> bytes:
    """Without an exponent, and without zeros at its end.

    >>> text_of(Decimal("5.0e3")), text_of(Decimal("-0.10"))
    (b'5000', b'-0.1')
    """
    text = f"{number.quantize(_FRACTION, context=_EXACT):f}".rstrip("0").rstrip(".")
    return b"0" if text in ("-0", "") else text.encode()
