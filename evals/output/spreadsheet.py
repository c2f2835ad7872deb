"""Protect CSV cells that a spreadsheet would read as formulas, with a leading apostrophe.

A reply, a persona or the name of a run may look like a formula, and a spreadsheet would run it. Numbers are unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

FORMULA = "^[=+\\-@\t\r\n＝＋－＠]"  # noqa: RUF001  some spreadsheets take the wide signs, too
"""First characters of text that a spreadsheet reads as a formula, or strips until it finds one."""

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|infinity|nan)$"
"""Text that begins with a sign and is a number."""

_FORMULA, _NUMBER = re.compile(FORMULA), re.compile(NUMBER, re.A | re.I)


def safe(value: Any) -> Any:
    """`value`, with a leading apostrophe if it is text that looks like a formula.

    >>> [safe(value) for value in ("=1+1", "-3.5", "@a", "io", -3)]
    ["'=1+1", '-3.5', "'@a", 'io', -3]
    """
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def safe_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with every value made safe."""
    return {name: safe(value) for name, value in row.items()}


def safe_values(values: Iterable[Any]) -> list[Any]:
    return [safe(value) for value in values]


def safe_column(column: Any) -> Any:
    """An Arrow text column made safe; unchanged if no value looks like a formula."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(column, FORMULA)).as_py():
        return column
    return pa.array(safe_values(column.to_pylist()), column.type)
