"""The agents' memory: recent years of all workers as arrays, and one record per schedule for the planner.

Memory holds numbers, so a prompt can show summary statistics instead of a transcript and stays short in a long run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from signatures.types import TaxSchedule

Floats = NDArray[np.float64]


@dataclass
class WorkerMemory:
    """A ring buffer of the last `length` years; columns are (length, num_agents), or (length,) if shared.

    `value` is the worker's objective in dollars a year (or units of welfare), without the part of the rebate that does
    not depend on its own hours, which would only blur the value of hours.
    """

    length: int
    num_agents: int
    years: int = 0
    hours: Floats = field(init=False)
    income: Floats = field(init=False)
    tax: Floats = field(init=False)
    value: Floats = field(init=False)
    year: NDArray[np.int64] = field(init=False)
    schedule: list[TaxSchedule | None] = field(init=False)
    _under: tuple[int, TaxSchedule, list[bool]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        shape = (self.length, self.num_agents)
        self.hours, self.income = np.zeros(shape), np.zeros(shape)
        self.tax, self.value = np.zeros(shape), np.zeros(shape)
        self.year = np.full(self.length, -1)
        self.schedule = [None] * self.length

    def remember(
        self, *, year: int, schedule: TaxSchedule, hours: Floats, income: Floats, tax: Floats, value: Floats
    ) -> None:
        """Add a year and drop the oldest. Arrays: (num_agents,), hours a week and dollars a year."""
        row = self.years % self.length
        self.hours[row], self.income[row], self.tax[row], self.value[row] = hours, income, tax, value
        self.year[row], self.schedule[row] = year, schedule
        self.years += 1

    def rows(self) -> NDArray[np.int64]:
        """Indices of the remembered years, oldest first."""
        held = min(self.years, self.length)
        return np.arange(self.years - held, self.years) % self.length

    def under(self, schedule: TaxSchedule) -> list[bool]:
        """Which of the remembered years, oldest first, were under `schedule`. Computed once for all workers."""
        if self._under is None or self._under[0] != self.years or self._under[1] is not schedule:
            self._under = self.years, schedule, [self.schedule[row] == schedule for row in self.rows()]
        return self._under[2]


@dataclass
class ScheduleRecord:
    """The planner's record of one schedule: years in force, total welfare, and settled welfare.

    A year is settled if it is the last before the next change, so that workers have had time to adjust.
    """

    schedule: TaxSchedule
    years: int = 0
    welfare: float = 0.0
    settled_years: int = 0
    settled_welfare: float = 0.0
    last_year: int = -1

    @property
    def mean_welfare(self) -> float:
        return self.welfare / max(1, self.years)

    @property
    def settled(self) -> float:
        """Mean welfare of settled years, or of all years if none is settled."""
        return self.settled_welfare / self.settled_years if self.settled_years else self.mean_welfare


@dataclass
class PlannerMemory:
    """One record per schedule, in the order in which they were first tried."""

    records: dict[tuple[float, ...], ScheduleRecord] = field(default_factory=dict)

    def remember(self, *, year: int, schedule: TaxSchedule, welfare: float, settled: bool) -> None:
        """Add one year of `welfare` (in units of the run's objective) under `schedule`."""
        record = self.records.setdefault(schedule.rates, ScheduleRecord(schedule))
        record.years += 1
        record.welfare += welfare
        record.last_year = year
        if settled:
            record.settled_years += 1
            record.settled_welfare += welfare

    def shown(self, best: int = 12, recent: int = 6) -> list[ScheduleRecord]:
        """The records that a prompt shows: the `best` and the most `recent` schedules, in order of last use."""
        records = list(self.records.values())
        keep = sorted(records, key=lambda r: -r.settled)[:best]
        keep += sorted(records, key=lambda r: -r.last_year)[:recent]
        chosen = {r.schedule.rates: r for r in keep}
        return sorted(chosen.values(), key=lambda r: r.last_year)
