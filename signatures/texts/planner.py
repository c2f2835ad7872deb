"""The texts of a planner's prompts: last year's economy, the schedules tried, and changes of the rates.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text.
Numbers come back as printed: dollars without cents, welfare with about five digits, hours with one decimal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, Self, TypeAlias

from signatures.texts.numbers import (
    COUNT,
    MONEY,
    NO_YEARS,
    NUMBER,
    SPENDING,
    dollars,
    figure,
    money,
    spending_in_words,
)


class BracketRow(NamedTuple):
    """The lower edge of a bracket in dollars a year, the number of workers in it, and their mean income or None."""

    edge: float
    workers: int
    mean_income: float | None

    def __str__(self) -> str:
        mean = "" if self.mean_income is None else f", mean income {money(self.mean_income)}"
        return f"from {money(self.edge)}: {self.workers} workers{mean}"


@dataclass(frozen=True)
class Satisfaction:
    """The number of satisfied workers, and of all who gave a verdict."""

    satisfied: int
    said: int

    PATTERN = re.compile(rf"satisfied with the tax policy: ({COUNT}) of ({COUNT}) workers who said")

    def __str__(self) -> str:
        return f"satisfied with the tax policy: {self.satisfied} of {self.said} workers who said"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class EconomySummary:
    """One year's economy: a row per bracket, utility at three percentiles in dollars, mean hours, rebate and welfare.

    `welfare` is in units of the planner's objective; `spending` in dollars a person.
    """

    brackets: tuple[BracketRow, ...]
    percentiles: tuple[float, float, float]
    mean_hours: float
    rebate: float
    welfare: float
    satisfaction: Satisfaction | None = None
    spending: float = 0.0

    ROW = re.compile(rf"^from ({MONEY}): ({COUNT}) workers(?:, mean income ({MONEY}))?$", re.MULTILINE)
    UTILITY = "\nutility at the 10th/50th/90th percentile: "
    TOTALS = re.compile(
        rf"({MONEY}) / ({MONEY}) / ({MONEY})\nmean hours ({NUMBER}), rebate ({MONEY})(?: \({SPENDING}\))?, "
        rf"welfare ({NUMBER})(?:\n|\Z)"
    )

    def __str__(self) -> str:
        rows = "\n".join(map(str, self.brackets))
        spent = f" ({spending_in_words(self.spending)})" if self.spending else ""
        lines = [
            f"{rows}{self.UTILITY}{' / '.join(map(money, self.percentiles))}",
            f"mean hours {self.mean_hours:.1f}, rebate {money(self.rebate)}{spent}, welfare {figure(self.welfare)}",
        ]
        return "\n".join(lines if self.satisfaction is None else [*lines, str(self.satisfaction)])

    @classmethod
    def parse(cls, text: str) -> Self | None:
        head, _, rest = text.partition(cls.UTILITY)
        rows, totals = cls.ROW.findall(head), cls.TOTALS.match(rest)
        if totals is None or len(rows) != head.count("\n") + 1:
            return None
        told = rest[totals.end() :]
        satisfaction = Satisfaction.parse(told)
        if (satisfaction is None) != (not told and not totals[0].endswith("\n")):
            return None
        low, middle, high, hours, rebate, spending, welfare = totals.groups()
        return cls(
            tuple([BracketRow(dollars(edge), int(n), dollars(mean) if mean else None) for edge, n, mean in rows]),
            (dollars(low), dollars(middle), dollars(high)),
            float(hours),
            dollars(rebate),
            float(welfare),
            satisfaction,
            dollars(spending) if spending else 0.0,
        )


class ScheduleTried(NamedTuple):
    """Marginal rates in percent, settled and mean welfare under them, and the number of years in force."""

    rates: tuple[float, ...]
    settled: float
    mean: float
    years: int

    def __str__(self) -> str:
        rates = "/".join([f"{rate:g}" for rate in self.rates])
        return f"{rates}: {figure(self.settled)}, {figure(self.mean)} ({self.years})"


@dataclass(frozen=True)
class RateChanges:
    """Changes of the rates in percentage points, lowest bracket first; empty for a candidate who proposes none."""

    changes: tuple[int, ...]

    TEXT = r"none|(?:[-+][1-9]\d{0,2}|0)(?:/(?:[-+][1-9]\d{0,2}|0)){0,99}"
    PATTERN = re.compile(TEXT)

    @classmethod
    def of(cls, changes: Sequence[int] | None) -> Self:
        """From any sequence of changes, or from None for none."""
        return cls(tuple(changes or ()))

    def __str__(self) -> str:
        """`+10/0/-20`, or `none`."""
        return "/".join([f"{change:+d}" if change else "0" for change in self.changes]) or "none"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        if not cls.PATTERN.fullmatch(text):
            return None
        return cls(() if text == "none" else tuple(map(int, text.split("/"))))


ScheduleOrder: TypeAlias = Literal["by year", "ranked"]
"""The order of the schedules tried: by the year in which each was last in force, or the best first."""

LARGEST_STEP = 20
"""Percentage points by which a rate may change at once."""


@dataclass(frozen=True)
class PlannerRecord:
    """The schedules tried, all with the same number of rates; none before the first year.

    `now`: the rates in force, if the layout names the changes that lead back to the best schedule.
    """

    tried: tuple[ScheduleTried, ...] = ()
    order: ScheduleOrder = field(default="by year", compare=False)
    now: tuple[float, ...] | None = field(default=None, compare=False)

    HEADS: ClassVar[Mapping[ScheduleOrder, str]] = {
        "by year": "rates: settled welfare, mean welfare (years)\n",
        "ranked": "rates, best first: settled welfare, mean welfare (years)\n",
    }
    ROW = re.compile(rf"^((?:{NUMBER}/){{0,99}}{NUMBER}): ({NUMBER}), ({NUMBER}) \(({COUNT})\)$", re.MULTILINE)
    WAY_BACK = re.compile(
        rf"\nbest so far: (?:{NUMBER}/){{0,99}}{NUMBER}, "
        rf"(?:which is in force|changes that lead back to it: (?:{RateChanges.TEXT}))\Z"
    )

    def __str__(self) -> str:
        if not self.tried:
            return NO_YEARS
        rows = sorted(self.tried, key=lambda row: -row.settled) if self.order == "ranked" else self.tried
        return self.HEADS[self.order] + "\n".join(map(str, rows)) + self._way_back()

    def _way_back(self) -> str:
        if self.now is None:
            return ""
        best = max(self.tried, key=lambda row: row.settled).rates
        apart = [there - here for there, here in zip(best, self.now, strict=True)]
        steps = [round(max(-LARGEST_STEP, min(LARGEST_STEP, step)) / 10) * 10 for step in apart]
        said = f"changes that lead back to it: {RateChanges(tuple(steps))}" if any(steps) else "which is in force"
        return f"\nbest so far: {'/'.join([f'{rate:g}' for rate in best])}, {said}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        if text == NO_YEARS:
            return cls()
        order = next((order for order, head in cls.HEADS.items() if text.startswith(head)), None)
        if order is None:
            return None
        body = cls.WAY_BACK.sub("", text.removeprefix(cls.HEADS[order]))
        rows = cls.ROW.findall(body)
        tried = [
            ScheduleTried(tuple(map(float, rates.split("/"))), float(settled), float(mean), int(years))
            for rates, settled, mean, years in rows
        ]
        whole = len(rows) == body.count("\n") + 1 and len({len(row.rates) for row in tried}) == 1
        return cls(tuple(tried), order) if whole else None
