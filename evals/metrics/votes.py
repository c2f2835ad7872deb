"""Score a vote by what each name on the ballot would bring the voter in dollars, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.economy.equilibrium import equilibrium
from pipeline.simulation.government import Platforms
from pipeline.simulation.world import World
from programs.roles.voter import ABSTAIN
from signatures.texts.ballot import candidate_name
from signatures.texts.numbers import money
from signatures.types import TaxSchedule

SAME = 0.5
"""Dollars a year that a voter treats as no difference."""

Prospect = Mapping[str, float]
"""A worker's `utility`, `tax` and `rebate` under a schedule if every worker best-responds, in dollars a year."""


@dataclass(frozen=True)
class VoteScore:
    """A ballot as one voter sees it: the outcome of each name's platform as law, and of today's law (`stay`)."""

    ballot: Mapping[str, Prospect]
    stay: Prospect

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> VoteScore:
        """From the plain data in an example."""
        return cls(truth["ballot"], truth["stay"])

    @property
    def utilities(self) -> dict[str, float]:
        """The voter's utility by name. An abstention leaves the choice to others: it counts as a random name."""
        names = {name: prospect["utility"] for name, prospect in self.ballot.items()}
        return {**names, ABSTAIN: float(np.mean(list(names.values())))}

    @property
    def best(self) -> str:
        """The name with the highest utility, the first in case of a tie; abstention if every name equals today's
        law."""
        if all(abs(prospect["utility"] - self.stay["utility"]) <= SAME for prospect in self.ballot.values()):
            return ABSTAIN
        return max(self.ballot, key=lambda name: self.ballot[name]["utility"])

    def lost(self, vote: str) -> float:
        """Dollars a year between the best name and `vote`."""
        return max(self.utilities.values()) - self.utilities[vote]

    def score(self, vote: str) -> float:
        """(utility - worst) / (best - worst) over the names; 1 if all names are equal."""
        lowest, highest = min(self.utilities.values()), max(self.utilities.values())
        if highest - lowest <= SAME:
            return 1.0
        return (self.utilities[vote] - lowest) / (highest - lowest)

    def in_words(self, vote: str) -> str:
        """The value of the vote to the voter against the best one, and the source of the difference."""
        did = "You abstained" if vote == ABSTAIN else f"You voted for {vote}"
        if self.lost(vote) <= SAME:
            why = "no name on the ballot would serve you better"
            return f"{did}: {self._worth(vote)} to you against today's law, and {why}."
        best = max(self.ballot, key=lambda name: self.ballot[name]["utility"])
        return (
            f"{did}: {self._worth(vote)} to you against today's law. {best} would have been {self._worth(best)}, "
            f"{money(self.lost(vote))} more: {self._because(best)}."
        )

    def _worth(self, vote: str) -> str:
        return f"worth {signed(self.utilities[vote] - self.stay['utility'])} a year"

    def _because(self, name: str) -> str:
        """How a name would change the voter's tax and rebate."""
        prospect = self.ballot[name]
        tax, rebate = prospect["tax"] - self.stay["tax"], prospect["rebate"] - self.stay["rebate"]
        return f"your tax would change by {signed(tax)} and the rebate of all by {signed(rebate)}"


def signed(dollars: float) -> str:
    """`+$1,200`, `-$80`, `$0`."""
    return f"+{money(dollars)}" if round(dollars) > 0 else money(dollars)


def prospects(world: World, schedule: TaxSchedule, voter: int, platforms: Platforms) -> dict[str, Any]:
    """The plain data of a `VoteScore`: the outcome of each platform for `voter`, each enacted from `schedule`.

    Raises ValueError if candidates have no platforms, because then the effect of a vote is unknown.
    """

    def prospect(law: TaxSchedule) -> dict[str, float]:
        windfall = world.windfall if world.config.income_effects else 0.0
        best = equilibrium(world.economy, law, world.population.wage, windfall=windfall)
        return {"utility": float(best.utility[voter]), "tax": float(best.tax[voter]), "rebate": best.rebate}

    ballot = {}
    for agent, changes in platforms.items():
        if changes is None:
            raise ValueError("votes for candidates without platforms have no exact worth; use --platforms")
        ballot[candidate_name(agent)] = prospect(schedule.changed(tuple(changes), world.config.lowest_rate))
    return {"ballot": ballot, "stay": prospect(schedule)}
