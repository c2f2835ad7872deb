"""Judge elections from the trace: who voted, how well, and what was chosen among the platforms.

A figure that is not defined is a text instead, which gives the reason: see `Finding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.baselines import Setting, objective
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.planner_share import LEAST_GAIN, planner_share
from pipeline.economy.policy_support import ballot_quality, condorcet_winners, prospects, terciles
from pipeline.economy.tax import FloatArray
from pipeline.simulation.elections.rules import ELECTION_RULES, Ballot, Poll, sincere_ballot, weights
from pipeline.store.columns import Row
from signatures.types import TaxSchedule

Finding = float | str
"""A figure, or the reason why there is none."""

NOT_STOOD = "no candidate stood"
NOT_VOTED = "no ballot named a candidate, so no candidate was elected"
NO_PLATFORMS = "candidates had no platforms (--platforms), so the effect of a vote is unknown"
NOT_ASKED = "citizens do not vote under this rule"
NOTHING_AT_STAKE = "no ballot of a worker who was asked had anything at stake"
NO_WINNER = "no platform beat every other one"
ALIKE = f"the best platform on offer is less than {LEAST_GAIN:.1%} above the worst in welfare"


@dataclass(frozen=True, eq=False)
class Electorate:
    """The people and settings of a year, for measuring its laws. `kind`: (N,) utility types."""

    setting: Setting
    kind: NDArray[np.object_]
    _welfare: dict[TaxSchedule, float] = field(default_factory=dict)

    def outcome(self, law: TaxSchedule) -> Outcome:
        """The year under `law` if every worker best-responds."""
        setting = self.setting
        return equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall)

    def welfare(self, law: TaxSchedule) -> float:
        """The objective of the run under `law`, in its unit, if every worker best-responds; computed once per law."""
        if law not in self._welfare:
            self._welfare[law] = objective(self.setting, law)
        return self._welfare[law]

    @cached_property
    def tercile(self) -> NDArray[np.int64]:
        """The wage third of each worker (N,): 0 poor, 1 middle, 2 rich."""
        return np.asarray(terciles(self.setting.wages))

    def wishes(self, laws: Sequence[TaxSchedule]) -> FloatArray:
        """Each voter's payoff under each of `laws`, (V, C): own utility, welfare, or minus welfare."""
        setting, kind = self.setting, self.kind[:, None]
        own = prospects(
            setting.economy, setting.thresholds, [law.rates for law in laws], setting.wages, setting.windfall
        )
        welfare = np.array([self.welfare(law) for law in laws])
        return np.where(kind == "egotistical", own, np.where(kind == "altruistic", welfare, -welfare))


@dataclass(frozen=True)
class Election:
    """One election. `before`: the law at the time; `after`: the law that the government then decided.

    `candidates`: rows of `platforms`, in order; `votes`: rows of ballots, with `asked`; `leader`: who governed
    afterwards.
    """

    rule: str
    before: TaxSchedule
    after: TaxSchedule
    candidates: Sequence[Row]
    votes: Sequence[Row]
    leader: int | None
    lowest_rate: float = 0.0

    @property
    def standing(self) -> list[int]:
        return [row["candidate"] for row in self.candidates]

    @property
    def elected(self) -> int | None:
        """The winner. An incumbent who stays because no ballot names a candidate is not one, even if standing."""
        standing = set(self.standing)
        decided = ELECTION_RULES[self.rule].form is None or any(
            not standing.isdisjoint(_ballot(vote)) for vote in self.votes
        )
        return self.leader if decided and self.leader in standing else None

    @cached_property
    def offers(self) -> list[TaxSchedule]:
        """The laws that the candidates proposed, in their order; none without platforms."""
        changes = [row["rate_changes"] for row in self.candidates]
        return [] if None in changes else [self.before.changed(tuple(change), self.lowest_rate) for change in changes]

    @property
    def promised(self) -> TaxSchedule | None:
        """The law that the elected candidate proposed."""
        if self.elected is None or not self.offers:
            return None
        return self.offers[self.standing.index(self.elected)]


def judged(election: Election, electorate: Electorate, lot: Sequence[int]) -> dict[str, Finding]:
    """The figures of an election. `lot`: a seed that breaks ties between equal preferences under sincere voting."""
    if not election.standing:
        return dict.fromkeys(VOTES, NOT_STOOD)
    found: dict[str, Finding] = {**dict.fromkeys(VOTES, NO_PLATFORMS), "turnout": _turnout(election)}
    if election.offers:
        wishes = electorate.wishes(election.offers)
        found["vote_quality"] = _vote_quality(election, wishes)
        found |= _contest(election, wishes, electorate, np.random.default_rng(lot))
        found |= _choice(election, electorate)
    return found


VOTES = (
    "turnout",
    "vote_quality",
    "condorcet_winner",
    "condorcet_elected",
    "condorcet_sincere",
    "choice_quality",
    "welfare_forgone",
    "promise_kept",
)
"""The figures of an election, in the order of the tables."""


def _turnout(election: Election) -> Finding:
    if ELECTION_RULES[election.rule].form is None:
        return NOT_ASKED
    return fmean(bool(_ballot(vote)) for vote in election.votes) if election.votes else NOT_VOTED


def _vote_quality(election: Election, wishes: FloatArray) -> Finding:
    """The mean quality of the ballots of asked voters who had something at stake."""
    form = ELECTION_RULES[election.rule].form
    if form is None:
        return NOT_ASKED
    cast = [(vote["voter"], _ballot(vote)) for vote in election.votes if vote["asked"] and _ballot(vote)]
    quality = [ballot_quality(weights(form, ballot, election.standing), wishes[voter]) for voter, ballot in cast]
    told = [value for value in quality if value == value]
    return fmean(told) if told else NOTHING_AT_STAKE


def _contest(
    election: Election, wishes: FloatArray, electorate: Electorate, rng: np.random.Generator
) -> Mapping[str, Finding]:
    """Whether a platform beats every other one by the voters' payoffs `wishes` (V, C), whether it was elected, and
    whether the rule elects it under sincere voting. If all platforms are equal, none wins."""
    winners, standing = condorcet_winners(wishes), election.standing
    if winners.all() or not winners.any():
        return {"condorcet_winner": False, "condorcet_elected": NO_WINNER, "condorcet_sincere": NO_WINNER}
    best = [name for name, wins in zip(standing, winners, strict=True) if wins]
    rule = ELECTION_RULES[election.rule]
    ballots = [sincere_ballot(rule.form, wanted, standing, rng) for wanted in wishes] if rule.form else []
    sincere = rule.elect(Poll(standing, ballots, electorate.setting.wages, lambda voter: wishes[voter]), rng)
    return {
        "condorcet_winner": True,
        "condorcet_elected": election.elected in best,
        "condorcet_sincere": sincere in best,
    }


def _choice(election: Election, electorate: Electorate) -> Mapping[str, Finding]:
    """Where the elected platform lies between the worst and the best in welfare, and whether it became law."""
    promised = election.promised
    if promised is None:
        return dict.fromkeys(("choice_quality", "welfare_forgone", "promise_kept"), NOT_VOTED)
    on_offer = [electorate.welfare(offer) for offer in election.offers]
    chosen, best = electorate.welfare(promised), max(on_offer)
    return {
        "choice_quality": share_of_gain(min(on_offer), chosen, best, ALIKE),
        "welfare_forgone": best - chosen,
        "promise_kept": promised == election.after,
    }


def share_of_gain(start: float, reached: float, best: float, reason: str) -> Finding:
    """The share of the gain from `start` to `best` that `reached` has; `reason` if there is too little to gain."""
    share = planner_share(start, reached, best)
    return reason if share is None else share


def _ballot(vote: Row) -> Ballot:
    return tuple(name for name in vote["ballot"] if name is not None)
