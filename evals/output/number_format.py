"""Format numbers, and any values of a database, for readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from programs.visible import visible

MISSING = "-"


def number(value: float | None) -> str:
    """Four significant digits, without exponents.

    >>> [number(value) for value in (33.9172, 72131.4, 0.61349, None)]
    ['33.92', '72,131', '0.6135', '-']
    """
    if value is None or value != value:
        return MISSING
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 4
    return f"{value:,.{digits}f}"


def figure(value: float, *, digits: int = 4, sign: bool = False) -> str:
    """Significant digits, and all digits before the decimal point; with `sign`, a plus before what is above zero.

    >>> [figure(value) for value in (33.9172, 72131.4, 0.61349, 100.0)]
    ['33.92', '72,131', '0.6135', '100']
    >>> figure(0.5, digits=3, sign=True), figure(-123.4, digits=3)
    ('+0.5', '-123')
    """
    form = ",.0f" if abs(value) >= 10 ** (digits - 1) else f".{digits}g"
    return f"{value:{'+' if sign and value > 0 else ''}{form}}"


def decimal(value: float | None, places: int = 2) -> str:
    """A fixed number of decimals.

    >>> decimal(0.999), decimal(None), decimal(float("nan"))
    ('1.00', '-', '-')
    """
    return MISSING if value is None or math.isnan(value) else f"{value:.{places}f}"


def share(value: float | None, digits: int = 1) -> str:
    """A share in percent, for a terminal.

    >>> share(0.914), share(None)
    ('91.4%', '-')
    """
    return MISSING if value is None else f"{value:.{digits}%}"


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


def plain(value: Any) -> str:
    """One value as text: empty for NULL, no exponents for money."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _digits(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join("NULL" if item is None else plain(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{visible(str(key))}: {plain(item)}" for key, item in value.items()) + "}"
    return visible(str(value))


def _digits(value: float) -> str:
    """Six significant digits, and all digits before the decimal point."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def between(interval: tuple[int, int]) -> str:
    """A range of counts.

    >>> between((3, 3)), between((1200, 3400))
    ('3', '1,200 - 3,400')
    """
    low, high = interval
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"


def dollars_between(cost: tuple[float, float] | None) -> str:
    """A range of costs; `?` if no price is known.

    >>> dollars_between((0, 1234.5)), dollars_between((0, 0)), dollars_between(None)
    ('0.0000 - 1,234.5000', '0', '?')
    """
    return "?" if cost is None else "0" if cost == (0, 0) else f"{cost[0]:,.4f} - {cost[1]:,.4f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours.

    >>> duration(90), duration(600), duration(9000)
    ('90 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
