"""Convert columns to text whose values DuckDB supports but Arrow, Python or Parquet do not.

Some types always become text. Dates and times become text only if a value is out of range, so that ordinary columns
keep their type: `beyond` finds those, and the query runs again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

ALWAYS_TEXT = re.compile(
    r"ENUM|MAP|UNION|BIT|BLOB|VARIANT|BIGNUM|INTERVAL|TIME WITH|_NS|GEOMETRY|UHUGEINT"
    r"|STRUCT(?!\()"  # without a field, which Parquet does not have
)
"""Types that Arrow or Python would show differently from SQL."""

DEEPEST = 50
"""The most levels of nesting that stay lists and structures; Arrow fails at 64."""

_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
"""Seconds since 1970."""

RANGES: dict[str, tuple[int, int]] = {
    "date32[day]": (_YEAR_1 // 86400, _YEAR_10000 // 86400),
    "time64[us]": (0, 86_400_000_000),
    **{
        f"timestamp[{unit}]": (_YEAR_1 * ticks, _YEAR_10000 * ticks)
        for unit, ticks in (("s", 1), ("ms", 10**3), ("us", 10**6))
    },
}
"""Python's range by Arrow type: lower bound included, upper bound excluded."""


def shown(relation: Any, as_text: Iterable[int] = ()) -> Any:
    """The relation, with columns of unsupported types and those numbered in `as_text` cast to text."""
    cast = set(as_text) | {number for number, kind in enumerate(relation.types) if _is_uncommon(str(kind))}
    if not cast:
        return relation
    quoted = ['"' + name.replace('"', '""') + '"' for name in relation.columns]
    return relation.project(
        ", ".join(
            f"CAST({name} AS VARCHAR) AS {name}" if number in cast else name for number, name in enumerate(quoted)
        )
    )


def _is_uncommon(kind: str) -> bool:
    if ALWAYS_TEXT.search(kind):
        return True
    depth = deepest = 0
    for mark in kind:
        depth += (mark == "(") - (mark == ")")
        deepest = max(deepest, depth)
    return deepest + kind.count("[") > DEEPEST


def beyond(column: Any) -> bool:
    """Whether an Arrow column has a value, at any depth, outside Python's range."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        return any(map(beyond, column.flatten()))
    if pa.types.is_nested(kind):
        return beyond(column.flatten())
    least, end = RANGES.get(re.sub(r", tz=[^\]]*", "", str(kind)), (0, 0))
    if end == 0 or _all_within(column, least, end):
        return False
    return any(value.is_valid and not least <= value.value < end for value in column)


def _all_within(column: Any, least: int, end: int) -> bool:
    """A quick check: whether all of a column's numbers, including those behind NULLs, are in the range."""
    _, numbers = column.buffers()
    if numbers is None or not len(column):
        return True
    every = memoryview(numbers).cast("b").cast("i" if column.type.bit_width == 32 else "q")
    part = every[column.offset : column.offset + len(column)]
    return least <= min(part) and max(part) < end
