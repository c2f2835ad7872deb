"""Parse the shocks of a run, i.e. changes of wages, rates or the rebate; simulation/shock_effects.py applies them.

    year=25: wages*0.8 where occupation like '%Construction%'        from year 25 on
    years=25-30: wages+2                                             in years 25 to 30
    year=25: rates+10     year=25: rates=30/40/60     years=25-30: rates=0/0/0
    year=25: rebate-500   years=25-30: rebate+1000

This module imports little because `llm-economist --help` imports it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Target = Literal["wages", "rates", "rebate"]
Change = Literal["*", "+", "="]

LONGEST = 500
"""Maximum characters of a shock."""

MOST: dict[str, float] = {"wages*": 100, "wages+": 10_000, "rates+": 100, "rates=": 100, "rebate+": 1_000_000}
"""The possible changes and their largest amounts: a factor, dollars an hour, points, percent, dollars a year."""

SHOCK = re.compile(
    r"\s*years?\s*=\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?:\s*(.*?)\s*(?:\bwhere\b\s*(.*?)\s*)?", re.S | re.I
)
EFFECT = re.compile(r"(wages|rates|rebate)\s*([*+=-])\s*(\d*\.?\d+(?:\s*/\s*\d*\.?\d+)*)", re.I)

EFFECTS = "wages*0.8, wages+2, rates+10, rates=30/40/60, rebate+500 (or - for +)"
EXAMPLES = "e.g. 'year=25: wages*0.8 where age > 50' or 'years=25-30: rebate-500'"


@dataclass(frozen=True)
class Shock:
    """One shock. `first`, `last`: its first and last year; `last` is None for a permanent shock.

    `target`, `change` and `amounts`: wages `*` a factor or `+` dollars an hour, rates `+` percentage points or `=`
    percent by bracket, rebate `+` dollars a year to each worker, from outside the economy. `condition`: whose wages
    change; None: all workers'.
    """

    text: str
    first: int
    last: int | None
    target: Target
    change: Change
    amounts: tuple[float, ...]
    condition: str | None = None

    def lasts_in(self, year: int) -> bool:
        """Whether the shock is in force in `year`."""
        return self.first <= year and (self.last is None or year <= self.last)


def parse(text: str) -> Shock:
    """Parse a shock. ValueError quotes the text and says what was expected.

    >>> parse("years=5-9: wages*0.8 where age > 50")  # doctest: +ELLIPSIS
    Shock(text=..., first=5, last=9, target='wages', change='*', amounts=(0.8,), condition='age > 50')
    """
    if len(text) > LONGEST:
        raise ValueError(f"--shock {text[:60]!r}...: {len(text)} characters; expected {LONGEST} at most")
    whole = SHOCK.fullmatch(text) if re.sub(r"\s", " ", text).isprintable() else None
    if whole is None:
        raise _refusal(text, f"expected year=N: or years=N-M: and a change, {EXAMPLES}")
    first, last, effect, condition = whole.groups()
    if last is not None and int(last) < int(first):
        raise _refusal(text, f"its last year {last} is before its first; expected years={last}-{first}:")
    target, change, amounts = _effect(text, effect)
    if condition is not None and target != "wages":
        raise _refusal(text, f"{target} cannot differ between workers; `where` is for wages only")
    if condition == "":
        raise _refusal(text, "expected a condition after `where`, e.g. where age > 50")
    return Shock(text, int(first), None if last is None else int(last), target, change, amounts, condition)


def _effect(text: str, effect: str) -> tuple[Target, Change, tuple[float, ...]]:
    """The target, the kind of change and its amounts; `-` is `+` with a negative amount."""
    found = EFFECT.fullmatch(effect)
    target, sign = (found[1].lower(), found[2]) if found else ("", "")
    change = "+" if sign == "-" else sign
    amounts = tuple(map(float, found[3].split("/"))) if found else ()
    most = MOST.get(target + change)
    if most is None or (len(amounts) > 1 and change != "="):
        raise _refusal(text, f"unknown change {effect!r}; expected one of {EFFECTS}")
    if max(amounts) > most or (change != "=" and not amounts[0]):
        raise _refusal(
            text, f"{effect!r} is out of bounds; expected {'0' if change == '=' else 'more than 0'} to {most:,.0f}"
        )
    return target, change, tuple(-x if sign == "-" else x for x in amounts)  # type: ignore[return-value]


def _refusal(text: str, why: str) -> ValueError:
    return ValueError(f"--shock {text!r}: {why}")
