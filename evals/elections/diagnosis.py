"""What governments did to the law, from the stored trace: who voted, how well, for whom, and at whose cost.

Every figure is exact: utilities and welfare assume that workers best-respond to a schedule, whatever was played. A run
has one row of figures for each change of its law, including turns without a candidate and changes by a shock. A figure
that is not defined is None, and `Figures.untold` gives the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from evals.elections.ballots import VOTES, Election, Electorate, Finding, judged, share_of_gain
from evals.policies.law_changes import Change, changes_of_law
from pipeline.economy.baselines import start, start_and_oracle
from pipeline.economy.planner_share import LEAST_GAIN
from pipeline.errors import UsageError
from pipeline.scenarios import SCENARIOS
from pipeline.simulation.restore import population_of
from pipeline.simulation.world import World, create
from pipeline.store.columns import Reader, Row
from pipeline.store.run_lookup import config_of, find_run

Maker = Literal["elected", "incumbent", "planner", "shock", "fork"]
"""Who made a law: an elected leader, a leader who stayed without election, the planner, a shock, or a fork."""

GOVERNMENTS: Sequence[Maker] = ("elected", "incumbent", "planner")
"""The makers that have turns of government."""

LAWS = ("welfare_gain", "planner_share", "gain_poor", "gain_middle", "gain_rich", "leader_gain")
"""The figures of a law, given for every change of it."""

MEANS = (*VOTES, *LAWS)
"""The fields of `Figures` with a meaningful mean; that of `condorcet_elected` is the Condorcet efficiency."""

PLANNER_GOVERNED = "the planner governed, not a worker"
NO_GOVERNMENT: Mapping[str, str] = {"shock": "a shock changed the law", "fork": "a fork rewrote the law"}
EMPTY_THIRD = "there are fewer than three workers"
NOTHING_TO_GAIN = f"ORACLE gains less than {LEAST_GAIN:.1%} over the first schedule"


@dataclass(frozen=True)
class Figures:
    """One change of the law. Welfare in the unit of the run's objective, gains in dollars per worker per year.

    `made_by`: see `Maker`. `leader`: who governs; None: the planner. `elected`: the winner, if candidates stood and a
    ballot named one. `leader_tercile`: 1 poor, 2 middle, 3 rich. `platform`: the leader's, in percentage points.
    `fallback`: the government gave no usable answer, so rates stayed. In years in which a temporary shock overrides the
    law, a government's `rates_before` and `rates` are those of the underlying law.

    `turnout`: share of the voters with a name on their ballot. `vote_quality`: mean over the ballots of asked voters, 0
    for the worst ballot of its form and 1 for the best (`ballot_quality`). `condorcet_winner`: whether one platform
    beats every other by the voters' true preferences; `condorcet_elected`: whether it was elected; `condorcet_sincere`:
    whether the rule elects it under sincere voting, which judges the rule alone. `choice_quality`: where the elected
    platform lies in welfare, from 0, the worst platform, to 1, the best. `welfare_forgone`: the best platform's welfare
    minus the elected one's, 0 or more. `promise_kept`: whether the elected platform became law.

    `welfare_start`, `welfare_oracle`: under the first schedule, `START_RATE` in every bracket, and under ORACLE's, with
    the people of that year. `welfare_gain`: over the previous law. `planner_share`: of the gain from `welfare_start` to
    `welfare_oracle`, as in the view `yardsticks`. `gain_...`: of each wage third and of the leader, over the previous
    law. `untold`: the reason, by field of `MEANS` that is None.
    """

    run_id: int
    year: int
    made_by: Maker
    standing: int
    leader: int | None
    leader_tercile: int | None
    elected: int | None
    platform: tuple[int, ...] | None
    fallback: bool
    rates_before: tuple[float, ...]
    rates: tuple[float, ...]
    turnout: float | None
    vote_quality: float | None
    condorcet_winner: bool | None
    condorcet_elected: bool | None
    condorcet_sincere: bool | None
    choice_quality: float | None
    welfare_forgone: float | None
    promise_kept: bool | None
    welfare_before: float
    welfare: float
    welfare_start: float
    welfare_oracle: float
    welfare_gain: float
    planner_share: float | None
    gain_poor: float | None
    gain_middle: float | None
    gain_rich: float | None
    leader_gain: float | None
    untold: Mapping[str, str]


@dataclass(frozen=True)
class Lab:
    """The changes of the law of one run, in order, with its election rule and kind of platforms.

    `platforms`: `none`, `free` or `binding`.
    """

    run_id: int
    rule: str
    platforms: str
    changes: Sequence[Figures]

    @property
    def turns(self) -> list[Figures]:
        """The turns of government, elected or not, which means cover."""
        return [one for one in self.changes if one.made_by in GOVERNMENTS]

    def means(self) -> dict[str, float | None]:
        """The mean of each of `MEANS` over the turns of government in which it is defined."""
        return means(self.turns)

    def counts(self) -> Counter[str]:
        """The number of changes of the law by each `Maker`."""
        return Counter(one.made_by for one in self.changes)


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its standard error; None if there is none. `turns`: the number of turns behind it, in all
    runs."""

    mean: float | None
    error: float | None
    turns: int


def _known(turns: Sequence[Figures], name: str) -> list[float]:
    return [float(value) for one in turns if (value := getattr(one, name)) is not None]


def means(turns: Sequence[Figures]) -> dict[str, float | None]:
    """The mean of each of `MEANS` over those of `turns` in which it is defined."""
    return {name: fmean(known) if (known := _known(turns, name)) else None for name in MEANS}


def told(turns: Sequence[Figures]) -> dict[str, int]:
    """The number of `turns` in which each of `MEANS` is defined."""
    return {name: len(_known(turns, name)) for name in MEANS}


def estimates(labs: Sequence[Lab]) -> dict[str, Estimate]:
    """Means over runs, each run counting once, with standard errors between runs."""
    found = {}
    for name in MEANS:
        known = [mean for lab in labs if (mean := lab.means()[name]) is not None]
        error = stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
        turns = sum(len(_known(lab.turns, name)) for lab in labs)
        found[name] = Estimate(fmean(known) if known else None, error, turns)
    return found


GOVERNED = """
SELECT DISTINCT run_id FROM years JOIN runs USING (run_id)
WHERE scenario = 'democratic' AND rate_changes IS NOT NULL AND year >= coalesce(fork_year, 0) ORDER BY run_id
"""


def governed(reader: Reader) -> list[int]:
    """The runs with elections in which a government has had a turn, whether or not a candidate stood."""
    return [row["run_id"] for row in reader.rows(GOVERNED)]


def diagnose(reader: Reader, run: str) -> Lab:
    """The changes of the law of a run, by number or name; for a fork, those after the branch.

    UsageError for a run without elections, or one in which no government has had a turn yet.
    """
    row = find_run(reader, run)
    config, run_id = config_of(row), int(row["run_id"])
    if not SCENARIOS[config.scenario].elections:
        raise UsageError(f"run {run_id} has no elections: its scenario is {config.scenario}; try --scenario democratic")
    people = population_of(reader, run_id)
    record = Record(reader, run_id)
    first = int(row["fork_year"] or 0)
    if people is None or not record.turns(first):
        raise UsageError(f"run {run_id} has held no election yet: it was interrupted first, or --warmup ends later")
    world = create(config, people[0])
    found = changes_of_law(record.years, first, start(world.setting()), world.exposure, config.lowest_rate)
    kind = "binding" if config.binding_platforms else "free" if config.platforms else "none"
    judge = Judge(world, run_id, record)
    return Lab(run_id, config.election_rule, kind, [judge.figures(change) for change in found])


CANDIDATES = "SELECT year, candidate, rate_changes FROM platforms WHERE run_id = ? ORDER BY year, candidate"

BALLOTS = """
SELECT v.year, v.voter, coalesce(v.ballot, [v.candidate]) AS ballot, a.asked
FROM votes v JOIN agents a ON a.run_id = v.run_id AND a.agent = v.voter
WHERE v.run_id = ? ORDER BY v.year, v.voter
"""


class Record:
    """The stored rows of a run's elections, by year."""

    def __init__(self, reader: Reader, run_id: int) -> None:
        years = reader.rows("SELECT * FROM years WHERE run_id = ?", [run_id])
        self.years: dict[int, dict[str, Any]] = {row["year"]: row for row in years}
        self.candidates = _by_year(reader.rows(CANDIDATES, [run_id]))
        self.votes = _by_year(reader.rows(BALLOTS, [run_id]))

    def turns(self, first: int) -> int:
        """Turns of government from year `first` on."""
        return sum(row["rate_changes"] is not None for year, row in self.years.items() if year >= first)


def _by_year(rows: Sequence[dict[str, Any]]) -> Mapping[int, list[Row]]:
    by_year: dict[int, list[Row]] = {}
    for row in rows:
        by_year.setdefault(row["year"], []).append(row)
    return by_year


class Judge:
    """Computes the figures of the changes of the law of one run; `world`: its people and settings."""

    def __init__(self, world: World, run_id: int, record: Record) -> None:
        self.world, self.run_id, self.record = world, run_id, record
        self._electorates: dict[object, Electorate] = {}

    def electorate(self, year: int) -> Electorate:
        """The people in `year`; years with the same shocks share them."""
        active = self.world.exposure.active(year)
        if active not in self._electorates:
            self._electorates[active] = Electorate(self.world.setting(year), self.world.population.utility_type)
        return self._electorates[active]

    def figures(self, change: Change) -> Figures:
        """The figures of one change."""
        people, year = self.electorate(change.year), self.record.years[change.year]
        leader, turn = year["leader"], change.cause == "government"
        election = self._election(change, leader) if turn else None
        start, _, oracle = (people.welfare(law) for law in start_and_oracle(people.setting))
        before, reached = people.welfare(change.before), people.welfare(change.after)
        found: dict[str, Finding] = {
            **self._votes(change, election, people),
            "welfare_gain": reached - before,
            "planner_share": share_of_gain(start, reached, oracle, NOTHING_TO_GAIN),
            **_gains(change, people, leader),
        }
        return Figures(
            run_id=self.run_id,
            year=change.year,
            made_by=_maker(change, election, leader),
            standing=len(election.standing) if election else 0,
            leader=leader,
            leader_tercile=None if leader is None else int(people.tercile[leader]) + 1,
            elected=election.elected if election else None,
            platform=_platform(election, leader),
            fallback=turn and bool(year["planner_fallback"]),
            rates_before=change.before.rates,
            rates=change.after.rates,
            welfare_before=before,
            welfare=reached,
            welfare_start=start,
            welfare_oracle=oracle,
            untold={name: value for name, value in found.items() if isinstance(value, str)},
            **{name: None if isinstance(value, str) else value for name, value in found.items()},  # type: ignore[arg-type]
        )

    def _election(self, change: Change, leader: int | None) -> Election:
        return Election(
            rule=self.world.config.election_rule,
            before=change.before,
            after=change.after,
            candidates=self.record.candidates.get(change.year, []),
            votes=self.record.votes.get(change.year, []),
            leader=leader,
            lowest_rate=self.world.config.lowest_rate,
        )

    def _votes(self, change: Change, election: Election | None, people: Electorate) -> Mapping[str, Finding]:
        if election is None:
            return dict.fromkeys(VOTES, NO_GOVERNMENT[change.cause])
        return judged(election, people, lot=[self.world.config.seed, change.year])


def _maker(change: Change, election: Election | None, leader: int | None) -> Maker:
    if change.cause != "government":
        return change.cause
    if leader is None:
        return "planner"
    return "elected" if election is not None and election.elected is not None else "incumbent"


def _platform(election: Election | None, leader: int | None) -> tuple[int, ...] | None:
    """The leader's platform in this election, in percentage points; None without one."""
    rows = [] if election is None else [row for row in election.candidates if row["candidate"] == leader]
    return tuple(rows[0]["rate_changes"]) if rows and rows[0]["rate_changes"] is not None else None


def _gains(change: Change, people: Electorate, leader: int | None) -> dict[str, Finding]:
    """Change of utility over the previous law, for each wage third and for the leader."""
    gain = people.outcome(change.after).utility - people.outcome(change.before).utility
    thirds = [gain[people.tercile == i] for i in range(3)]
    by_third: list[Finding] = [float(np.mean(third)) if len(third) else EMPTY_THIRD for third in thirds]
    own: Finding = PLANNER_GOVERNED if leader is None else float(gain[leader])
    return dict(zip(("gain_poor", "gain_middle", "gain_rich", "leader_gain"), [*by_third, own], strict=True))
