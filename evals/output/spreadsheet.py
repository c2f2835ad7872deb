"""Cells of CSV that a spreadsheet must not take for a formula: an apostrophe goes in front of them.

A reply, a persona or the name of a run may begin like a formula, and a spreadsheet would run it. Numbers stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

FORMULA = "^[=+\\-@\t\r\n＝＋－＠]"  # noqa: RUF001  some spreadsheets take the wide signs, too
"""How text begins that a spreadsheet takes for a formula, or cuts until it begins with one."""

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|infinity|nan)$"
"""Text that begins with a sign and is a number."""

_FORMULA, _NUMBER = re.compile(FORMULA), re.compile(NUMBER, re.A | re.I)


def safe(value: Any) -> Any:
    """`value`, or with an apostrophe in front if it is text that looks like a formula.

    >>> [safe(value) for value in ("=1+1", "-3.5", "@a", "io", -3)]
    ["'=1+1", '-3.5', "'@a", 'io', -3]
    """
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def safe_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same for every value of a row."""
    return {name: safe(value) for name, value in row.items()}


def safe_values(values: Iterable[Any]) -> list[Any]:
    return [safe(value) for value in values]


def safe_column(column: Any) -> Any:
    """The same for an Arrow column of text, all at once where nothing looks like a formula."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(column, FORMULA)).as_py():
        return column
    return pa.array(safe_values(column.to_pylist()), column.type)
