"""Reference points of welfare for the same people: no work, no taxes, the first schedule, and ORACLE's.

They are the scale on which a planner or a whole economy is judged (docs/yardsticks.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pipeline.economy.baselines import BASELINES, Setting, objective, start_and_oracle
from pipeline.economy.effort import OWN, Economy, with_own
from pipeline.economy.equilibrium import settle
from pipeline.economy.laws.dollars import economy_in
from pipeline.economy.welfare import WELFARE, WelfareFunction
from signatures.types import TaxSchedule

KEPT = 4096
"""Cached results: the same people are judged many times."""


@dataclass(frozen=True)
class People:
    """The people to be taxed and the objective: `wages` in dollars an hour; `economy` and `welfare` by name.

    `dollars_of`: the year of the dollar amounts; None: no single one. `tastes`: the people's factors on the cost of
    effort; `elasticities`: of their hours; `participation_costs`: dollars a year that each loses by working at all.
    These are None if all have the same. `lowest_rate`: in percent, that a planner may set. `gamma`: how fast the worth
    of a dollar falls with consumption. `windfall`: dollars a year that each gets from outside, less public spending.
    """

    wages: tuple[float, ...]
    thresholds: tuple[float, ...]
    welfare: str = "inverse_income"
    economy: str = "weekly"
    dollars_of: int | None = None
    inequality_aversion: float = 1.0
    tastes: tuple[float, ...] | None = None
    elasticities: tuple[float, ...] | None = None
    participation_costs: tuple[float, ...] | None = None
    lowest_rate: float = 0.0
    gamma: float = 0.0
    windfall: float = 0.0

    @classmethod
    def of(cls, truth: Mapping[str, Any], welfare: str | None = None) -> People:
        """From the plain data in an example; `welfare` overrides the objective of its planner."""
        wages, thresholds = tuple(truth["wages"]), tuple(truth["thresholds"])
        return cls(
            wages,
            thresholds,
            welfare or truth["welfare"],
            truth["economy"],
            truth.get("dollars_of"),
            truth.get("inequality_aversion", 1.0),
            lowest_rate=truth.get("lowest_rate", 0.0),
            gamma=truth.get("gamma", 0.0),
            windfall=truth.get("windfall", 0.0),
            **{own: tuple(truth[own]) for own in OWN.values() if own in truth},
        )

    @property
    def effort(self) -> Economy:
        """The economy, which gives the utility cost of effort."""
        return with_own(
            economy_in(self.economy, self.dollars_of, self.gamma),
            {name: getattr(self, own) for name, own in OWN.items()},
        )

    @property
    def setting(self) -> Setting:
        """The input of planners without a model."""
        wages = np.array(self.wages)
        return Setting(
            self.effort,
            self.thresholds,
            wages,
            self.welfare,
            windfall=self.windfall,
            dollars_of=self.dollars_of,
            inequality_aversion=self.inequality_aversion,
        )

    def welfare_under(self, schedule: TaxSchedule) -> float:
        """Welfare if every worker best-responds to `schedule`."""
        return objective(self.setting, schedule)


class Yardsticks(NamedTuple):
    """Welfare of the same people: if no one works, without taxes, under the first schedule, and under ORACLE's."""

    idle: float
    free_market: float
    start: float
    oracle: float
    oracle_rates: tuple[float, ...]


def yardsticks(people: People) -> Yardsticks:
    """The reference points of welfare; every worker best-responds in all but the first."""
    return _yardsticks(people, WELFARE[people.welfare])


@lru_cache(KEPT)
def _yardsticks(people: People, function: WelfareFunction) -> Yardsticks:
    """`function`: that of `people`; a user's own one may be another one under the same name."""
    setting = people.setting
    start, _, best = start_and_oracle(setting)
    idle = settle(setting.economy, start, setting.wages, np.zeros(len(people.wages)), windfall=people.windfall)
    return Yardsticks(
        idle=float(setting.objective(idle.utility, idle.income, setting.wages)),
        free_market=people.welfare_under(BASELINES["FREE_MARKET"](setting)),
        start=people.welfare_under(start),
        oracle=people.welfare_under(best),
        oracle_rates=best.rates,
    )
