"""What elections did, from the stored trace: who votes, how well, for whom, and at whose cost.

Every figure is exact: utilities and welfare are those of workers who best-respond to a schedule, whatever was played.
Figures that cannot be told are None: without platforms nobody knows what a vote would have brought, and where nobody is
asked there is no vote to judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from pipeline.baselines import BASELINES, START_RATE, Setting
from pipeline.config import RunConfig
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.population import Population
from pipeline.economy.preferences import ballot_quality, condorcet_winners, prospects, terciles
from pipeline.economy.tax import BRACKETS, FloatArray, uniform
from pipeline.economy.utility import ECONOMIES, Economy
from pipeline.economy.welfare import welfare_functions
from pipeline.election import RULES, Ballot, Poll, sincere_ballot, weights
from pipeline.errors import UsageError
from pipeline.history import config_of, find_run, on_brackets, population_of, schedule_of
from pipeline.scenarios import SCENARIOS
from pipeline.store import Reader
from signatures.types import TaxSchedule


@dataclass(frozen=True)
class Figures:
    """One election. Welfare in the unit of the run's objective, gains in dollars a worker and year.

    `elected`: who governs afterwards, if that is one of those who stood; `leader_tercile`: 1 poor, 2 middle, 3 rich.
    `turnout`: share of the voters with a name on their ballot. `vote_quality`: mean over the ballots of those who were
    asked, 0 for the worst one of its form and 1 for the best (`ballot_quality`). `condorcet_winner`: whether one of the
    platforms beats each other by the voters' true preferences; `condorcet_elected`: whether that one was elected;
    `condorcet_sincere`: whether the rule elects it if everybody votes by true preferences, which judges the rule alone.
    `welfare`: of the law that was made; `of_best` and `of_oracle`: its share of that of the best platform on offer, and
    of ORACLE's. `gain_...`: by the law against the one before, of each third by wage, and of the elected.
    """

    run_id: int
    year: int
    standing: int
    elected: int | None
    leader_tercile: int | None
    rates_before: tuple[float, ...]
    rates: tuple[float, ...]
    turnout: float | None
    vote_quality: float | None
    condorcet_winner: bool | None
    condorcet_elected: bool | None
    condorcet_sincere: bool | None
    welfare_before: float
    welfare: float
    best_on_offer: float | None
    oracle: float
    of_best: float | None
    of_oracle: float | None
    gain_poor: float | None
    gain_middle: float | None
    gain_rich: float | None
    leader_gain: float | None


MEANS = (
    "turnout",
    "vote_quality",
    "condorcet_winner",
    "condorcet_elected",
    "condorcet_sincere",
    "of_best",
    "of_oracle",
    "gain_poor",
    "gain_middle",
    "gain_rich",
    "leader_gain",
)
"""The fields of `Figures` of which a mean says something; that of `condorcet_elected` is the Condorcet efficiency."""


@dataclass(frozen=True)
class Lab:
    """The elections of one run, and what they were held under."""

    run_id: int
    rule: str
    platforms: str
    elections: list[Figures]

    def means(self) -> dict[str, float | None]:
        """The mean of each of `MEANS` over the elections in which it can be told."""
        columns = {name: [getattr(election, name) for election in self.elections] for name in MEANS}
        return {name: _mean(column) for name, column in columns.items()}


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its standard error; None where there is none."""

    mean: float | None
    error: float | None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None


def estimates(labs: Sequence[Lab]) -> dict[str, Estimate]:
    """Means over runs, each run counting once, with the standard error that runs differ by."""
    found = {}
    for name in MEANS:
        known = [mean for lab in labs if (mean := lab.means()[name]) is not None]
        error = stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
        found[name] = Estimate(_mean(known), error)
    return found


def diagnose(reader: Reader, run: str) -> Lab:
    """The elections of a run, by number or name; of a fork, those since it branched. UsageError if it has none."""
    row = find_run(reader, run)
    config, run_id = config_of(row), int(row["run_id"])
    if not SCENARIOS[config.scenario].elections:
        raise UsageError(f"run {run_id} has no elections: its scenario is {config.scenario}; try --scenario democratic")
    people = population_of(reader, run_id)
    held = [] if people is None else list(_held(reader, run_id, int(row["fork_year"] or 0)))
    if people is None or not held:
        raise UsageError(f"run {run_id} has held no election yet: nobody stood, or it was cut off before")
    electorate = Electorate(config, people[0])
    kind = "binding" if config.binding_platforms else "free" if config.platforms else "none"
    return Lab(run_id, config.election_rule, kind, [electorate.figures(run_id, one) for one in held])


@dataclass(frozen=True)
class Held:
    """The rows of one election: the year's, that of the year before, the candidates' and the voters'."""

    year: dict[str, Any]
    before: dict[str, Any] | None
    platforms: list[dict[str, Any]]
    votes: list[dict[str, Any]]


YEARS = "SELECT year, thresholds, rates, leader FROM years WHERE run_id = ?"

STOOD = "SELECT year, candidate, rate_changes FROM platforms WHERE run_id = ? AND year >= ? ORDER BY year, candidate"

VOTES = """
SELECT v.year, v.voter, coalesce(v.ballot, [v.candidate]) AS ballot, a.asked
FROM votes v JOIN agents a ON a.run_id = v.run_id AND a.agent = v.voter
WHERE v.run_id = ? AND v.year >= ? ORDER BY v.year, v.voter
"""


def _held(reader: Reader, run_id: int, start: int) -> Iterator[Held]:
    """The elections of a run from year `start` on."""
    by_year = {row["year"]: row for row in reader.rows(YEARS, [run_id])}
    platforms, votes = reader.rows(STOOD, [run_id, start]), reader.rows(VOTES, [run_id, start])
    for year in sorted({row["year"] for row in platforms} & set(by_year)):
        yield Held(
            by_year[year],
            by_year.get(year - 1),
            [row for row in platforms if row["year"] == year],
            [row for row in votes if row["year"] == year],
        )


class Contest(NamedTuple):
    """Whether there is a Condorcet winner, whether it was elected, and whether the rule elects it by sincere votes."""

    exists: bool | None
    elected: bool | None
    sincere: bool | None


UNKNOWN = Contest(None, None, None)


@dataclass(frozen=True)
class Electorate:
    """A run's people and settings, by which its elections are measured."""

    config: RunConfig
    population: Population

    @property
    def economy(self) -> Economy:
        return ECONOMIES[self.config.economy]

    @property
    def thresholds(self) -> tuple[float, ...]:
        return BRACKETS[self.config.bracket_setting]

    @cached_property
    def oracle(self) -> float:
        """Welfare under ORACLE's schedule."""
        setting = Setting(self.economy, self.thresholds, self.population.wage, welfare=self.config.welfare)
        return self.welfare(self.outcome(BASELINES["ORACLE"](setting)))

    def outcome(self, schedule: TaxSchedule) -> Outcome:
        return equilibrium(self.economy, schedule, self.population.wage)

    def welfare(self, outcome: Outcome) -> float:
        functions = welfare_functions(self.config.inequality_aversion)
        return float(functions[self.config.welfare](outcome.utility, outcome.income, self.population.wage))

    def wishes(self, laws: Sequence[TaxSchedule]) -> FloatArray:
        """What each voter has of what it wants under each law, (V, C): own utility, welfare, or its opposite."""
        kind = self.population.utility_type[:, None]
        own = prospects(self.economy, self.thresholds, [law.rates for law in laws], self.population.wage)
        welfare = np.array([self.welfare(self.outcome(law)) for law in laws])
        return np.where(kind == "egotistical", own, np.where(kind == "altruistic", welfare, -welfare))

    def figures(self, run_id: int, held: Held) -> Figures:
        """The figures of one election."""
        before = schedule_of(held.before) if held.before else uniform(self.thresholds, START_RATE)
        law, standing = schedule_of(held.year), [row["candidate"] for row in held.platforms]
        leader = held.year["leader"] if held.year["leader"] in standing else None
        was, now = self.outcome(before), self.outcome(law)
        gain, third = now.utility - was.utility, terciles(self.population.wage)
        offers = self._offers(before, held)
        best = max((self.welfare(self.outcome(offer)) for offer in offers), default=None)
        wishes = self.wishes(offers) if offers else None
        contest = UNKNOWN if wishes is None else self._contest(wishes, standing, held.year)
        by_third = [_mean(gain[third == i].tolist()) for i in range(3)]
        return Figures(
            run_id=run_id,
            year=held.year["year"],
            standing=len(standing),
            elected=leader,
            leader_tercile=None if leader is None else int(third[leader]) + 1,
            rates_before=before.rates,
            rates=law.rates,
            turnout=_mean([bool(_ballot(vote)) for vote in held.votes]),
            vote_quality=None if wishes is None else self._vote_quality(wishes, standing, held.votes),
            condorcet_winner=contest.exists,
            condorcet_elected=contest.elected,
            condorcet_sincere=contest.sincere,
            welfare_before=self.welfare(was),
            welfare=self.welfare(now),
            best_on_offer=best,
            oracle=self.oracle,
            of_best=_share(self.welfare(now), best),
            of_oracle=_share(self.welfare(now), self.oracle),
            gain_poor=by_third[0],
            gain_middle=by_third[1],
            gain_rich=by_third[2],
            leader_gain=None if leader is None else float(gain[leader]),
        )

    def _offers(self, before: TaxSchedule, held: Held) -> list[TaxSchedule]:
        """The laws that the candidates stood for, in their order; none without platforms."""
        changes = [row["rate_changes"] for row in held.platforms]
        if any(change is None for change in changes):
            return []
        old = before if before.thresholds == self.thresholds else on_brackets(before, self.thresholds)
        return [old.changed(tuple(change)) for change in changes]

    def _contest(self, wishes: FloatArray, standing: Sequence[int], year: dict[str, Any]) -> Contest:
        """Who wins against each other by the voters' `wishes` (V, C), and who was elected. Where all are alike nobody
        wins; equal wishes are told apart by one draw."""
        winners = condorcet_winners(wishes)
        if winners.all() or not winners.any():
            return Contest(False, None, None)
        best = [name for name, wins in zip(standing, winners, strict=True) if wins]
        rule, rng = RULES[self.config.election_rule], np.random.default_rng([self.config.seed, year["year"]])
        form = rule.form
        ballots = [sincere_ballot(form, wanted, standing, rng) for wanted in wishes] if form else []
        sincere = rule.elect(Poll(standing, ballots, self.population.wage, lambda voter: wishes[voter]), rng)
        return Contest(True, year["leader"] in best, sincere in best)

    def _vote_quality(
        self, wishes: FloatArray, standing: Sequence[int], votes: Sequence[dict[str, Any]]
    ) -> float | None:
        """The mean quality of the ballots of those who were asked and for whom something was at stake."""
        form = RULES[self.config.election_rule].form
        cast = [(vote["voter"], _ballot(vote)) for vote in votes if vote["asked"] and _ballot(vote)]
        if form is None:
            return None
        quality = [ballot_quality(weights(form, ballot, standing), wishes[voter]) for voter, ballot in cast]
        return _mean([value for value in quality if value == value])


def _ballot(vote: dict[str, Any]) -> Ballot:
    return tuple(name for name in vote["ballot"] if name is not None)


def _share(part: float, whole: float | None) -> float | None:
    """`part` of `whole`; None where that is no share, because the whole is not positive."""
    return part / whole if whole is not None and whole > 0 else None
