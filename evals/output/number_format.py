"""Format numbers for readers, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column names the row; `numeric` columns are right-aligned; `marked` cells stand out.

    `marked` holds (row, column), both from 0.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    marked: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def number(value: float | None) -> str:
    """Four significant digits, without exponents.

    >>> [number(value) for value in (33.9172, 72131.4, 0.61349, None)]
    ['33.92', '72,131', '0.6135', '-']
    """
    if value is None or value != value:
        return MISSING
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 4
    return f"{value:,.{digits}f}"


def dollars(value: float | None) -> str:
    """Whole dollars, with cents below ten dollars.

    >>> [dollars(value) for value in (1234.5, 3.14159, -20.0)]
    ['$1,234', '$3.14', '-$20']
    """
    if value is None:
        return MISSING
    amount = f"${abs(value):,.{2 if 0 < abs(value) < 10 else 0}f}"
    return f"-{amount}" if value < 0 else amount


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.7612), percent(0.0004, 1)
    ('76 %', '0.0 %')
    """
    return MISSING if share is None else f"{100 * share:,.{digits}f} %"


def rates(values: Iterable[float]) -> str:
    """Marginal rates, lowest bracket first.

    >>> rates([70, 70, 52.5])
    '70/70/52'
    """
    return "/".join(f"{rate:.0f}" for rate in values)


def changes(values: Sequence[int] | None) -> str:
    """Percentage points by bracket.

    >>> changes([10, 0, -20])
    '+10/0/-20'
    """
    if values is None:
        return MISSING
    return "/".join("0" if value == 0 else f"{value:+d}" for value in values)


def span(first: int, last: int) -> str:
    """Years from first to last.

    >>> span(0, 9), span(4, 4)
    ('years 0 to 9', 'year 4')
    """
    return f"year {first}" if first == last else f"years {first} to {last}"


def several(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> several(1, "call"), several(2000, "call")
    ('1 call', '2,000 calls')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
