"""The results of an economy over all years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pipeline.economy.effort import OWN
from pipeline.economy.equilibrium import regret
from pipeline.economy.planner_share import planner_share
from pipeline.economy.tax import rates_in_words
from pipeline.economy.yardsticks import People, yardsticks
from pipeline.simulation.records import Year
from pipeline.simulation.world import World


@dataclass
class Account:
    """Accumulates the results of an economy's years."""

    world: World
    years: list[Year] = field(default_factory=list)
    laws: list[tuple[float, ...]] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    best_hours: list[float] = field(default_factory=list)

    def add(self, year: Year) -> None:
        """Add a year that was just played."""
        world = self.world
        missed = regret(world.economy, world.schedule, world.population.wage, year.outcome)
        self.years.append(year)
        self.laws.append(world.schedule.rates)
        self.regrets.append(float(missed.regret.mean()))
        self.shares.append(float(missed.regret.sum() / max(1.0, missed.best_utility.sum())))
        self.best_hours.append(float(missed.best_labor.mean()))

    def closed(self) -> dict[str, Any]:
        """The results over all years."""
        people, last = self._people(), self.years[-1]
        measure = yardsticks(people)
        return {
            "welfare": last.welfare,
            "welfares": self._welfares(),
            "planner_share": planner_share(measure.start, last.welfare_best_response, measure.oracle),
            "mean_regret": float(np.mean(self.regrets)),
            "regret_share": float(np.mean(self.shares)),
            "satisfied": self._satisfied(),
            "schedule": self.world.schedule,
            "story": "; ".join(self._story()),
            "mean_hours": float(np.mean([year.outcome.labor.mean() for year in self.years])),
            "best_hours": float(np.mean(self.best_hours)),
            "people": {each.name: getattr(people, each.name) for each in fields(People)},
        }

    def _people(self) -> People:
        config, wages = self.world.config, self.world.population.wage.tolist()
        thresholds, economy = self.world.setting().thresholds, self.world.economy
        own: dict[str, Any] = {
            name: tuple(vars(economy)[name].tolist()) for name in OWN.values() if vars(economy)[name] is not None
        }
        objective = config.welfare, config.economy, config.dollars_of, config.inequality_aversion
        return People(
            tuple(wages),
            thresholds,
            *objective,
            lowest_rate=config.lowest_rate,
            gamma=config.gamma or 0.0,
            windfall=self.world.windfall,
            **own,
        )

    def _welfares(self) -> dict[str, float]:
        """Each welfare function, as played, averaged over the years."""
        wage = self.world.population.wage
        return {
            name: float(np.mean([function(year.judged, year.outcome.income, wage) for year in self.years]))
            for name, function in self.world.setting().welfare_functions.items()
        }

    def _satisfied(self) -> float | None:
        """The share of satisfied verdicts over all years; None without verdicts."""
        counts = [year.verdicts for year in self.years if year.verdicts is not None]
        return sum(yes for yes, _ in counts) / sum(asked for _, asked in counts) if counts else None

    def _story(self) -> Iterator[str]:
        """Each schedule with the welfare of its last year as played."""
        for i, (year, law) in enumerate(zip(self.years, self.laws, strict=True)):
            if i + 1 == len(self.laws) or self.laws[i + 1] != law:
                yield f"{rates_in_words(law)} until year {year.year}: welfare {year.welfare:.5g}"
