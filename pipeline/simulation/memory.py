"""What agents remember: the last years as columns over all workers, and one row per schedule for the planner.

Memory is kept as numbers, so that a prompt can show sufficient statistics instead of a transcript and stays
short however long the run is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from signatures.types import TaxSchedule

Floats = NDArray[np.float64]


@dataclass
class WorkerMemory:
    """A ring of the last `length` years; each column is (length, num_agents), or (length,) where shared.

    `value` is what the worker's objective was worth in dollars a year (or in units of welfare), without the
    rebate: the rebate is the same whatever one's hours, and would only blur what hours are worth.
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
        """Write one year over the oldest. Arrays: (num_agents,), hours a week and dollars a year."""
        row = self.years % self.length
        self.hours[row], self.income[row], self.tax[row], self.value[row] = hours, income, tax, value
        self.year[row], self.schedule[row] = year, schedule
        self.years += 1

    def rows(self) -> NDArray[np.int64]:
        """Indices of the years held, oldest first."""
        held = min(self.years, self.length)
        return np.arange(self.years - held, self.years) % self.length

    def under(self, schedule: TaxSchedule) -> list[bool]:
        """Of the years held, oldest first, which were under `schedule`. Worked out once for all workers."""
        if self._under is None or self._under[0] != self.years or self._under[1] is not schedule:
            self._under = self.years, schedule, [self.schedule[row] == schedule for row in self.rows()]
        return self._under[2]


@dataclass
class ScheduleRecord:
    """What the planner knows of one schedule: years in force, summed welfare, and settled welfare.

    A year is settled when it is the last before the next change: workers have had time to answer.
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
        """Mean welfare of settled years, or of all years where none has settled yet."""
        return self.settled_welfare / self.settled_years if self.settled_years else self.mean_welfare


@dataclass
class PlannerMemory:
    """One row per schedule tried, in order of first trial."""

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
        """The `best` settled schedules and the `recent` ones, in order of last use: a bounded view."""
        records = list(self.records.values())
        keep = sorted(records, key=lambda r: -r.settled)[:best]
        keep += sorted(records, key=lambda r: -r.last_year)[:recent]
        chosen = {r.schedule.rates: r for r in keep}
        return sorted(chosen.values(), key=lambda r: r.last_year)
