"""`llm-economist eval`: judge stored runs by every welfare function and against exact benchmarks.

It reads the trace, solves the economy of the same people, prints the results, and stores the scores in `evaluations`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.cautions import unanswered
from evals.cautions.messages import of_years
from evals.output.console import Console
from evals.policies.policy_welfare import Policy, Years, as_played, by_law, laws, on_front, oracles, ranks
from evals.policies.share_of_gain import Judged, beside, judged, moves, table_notes, unit_of
from evals.policies.who_gains import WhoGains, of_stored_year
from pipeline.economy.baselines import Setting, certified_oracle
from pipeline.economy.oracle import Certificate
from pipeline.economy.planner_share import planner_share
from pipeline.economy.welfare import WELFARE
from pipeline.errors import StoreError, UsageError
from pipeline.simulation.missing_benchmarks import Yardsticks, missing, put
from pipeline.simulation.restore import restore
from pipeline.store.columns import Reader, Row, now
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_runs, schedule_of
from pipeline.store.writer import Store
from programs.plugins import installed
from signatures.types import TaxSchedule


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A stored run. `setting`: its people, its brackets and its objective in the last judged year.

    `ranges`: first and last year of each judged range. `yardsticks`: rows of the view of that name, in order of years.
    `computed`: the yardsticks that years of older versions lacked, now also in `years` and `yardsticks`. `laws`: its
    last law and the laws it is compared with, under its objective. `law_notes`: what their columns mean. `gains`: who
    gains under the law of the last judged year.
    """

    run_id: int
    name: str
    setting: Setting
    years: Years
    last_law: TaxSchedule
    ranges: list[tuple[int, int]]
    yardsticks: list[dict[str, Any]]
    computed: list[Yardsticks]
    laws: list[Judged]
    law_notes: list[str]
    gains: WhoGains
    unanswered: list[str]


@dataclass(frozen=True)
class Best:
    """ORACLE for a run's people, brackets and objective, and the seconds that it took here."""

    schedule: TaxSchedule
    certificate: Certificate
    seconds: float


@dataclass(frozen=True)
class People:
    """Runs with the same people: only they are comparable, because most welfare functions are sums over people.

    `places`: rank of each policy under each welfare function. `front`: whether no policy has more equality and output.
    """

    runs: list[EvaluatedRun]
    policies: list[Policy]
    places: dict[str, list[int]]
    front: list[bool]
    warnings: list[str]


@dataclass(frozen=True)
class Evaluation:
    """The results of `eval`. `best` is by run."""

    names: list[str]
    people: list[People]
    best: dict[int, Best]

    @property
    def runs(self) -> list[EvaluatedRun]:
        return [run for people in self.people for run in people.runs]


def evaluate(runs: Sequence[str], db: str, *, welfare: str | None, years: str | None) -> Evaluation:
    """Judge `runs` (numbers, names, or `all`). UsageError if a run, a year or a welfare function does not exist."""
    wanted = range_of_years(years) if years else None
    with ReadOnlyStore(db) as reader:
        rows = {row["run_id"]: row for row in chosen(reader, runs)}
        played = [_load(reader, row, wanted) for row in rows.values()]
    names = welfare_names(welfare, [run.setting.welfare for run in played])
    groups: dict[tuple[object, ...], list[EvaluatedRun]] = {}
    for run in played:
        groups.setdefault((run.setting.economy, run.setting.wages.tobytes()), []).append(run)
    best = {run.run_id: _best(run.setting, names) for run in played}
    return Evaluation(names, [_people(group, names) for group in groups.values()], best)


def chosen(reader: Reader, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of `runs`; `all` stands for every run with a complete year."""
    if list(runs) != ["all"]:
        return find_runs(reader, runs)
    rows = reader.rows("SELECT * FROM runs WHERE run_id IN (SELECT run_id FROM years) ORDER BY run_id")
    if not rows:
        raise UsageError(f"no run in {reader.path} has a complete year yet; there is nothing to judge")
    return rows


def welfare_names(welfare: str | None, objectives: Sequence[str]) -> list[str]:
    """`all`, or names separated by commas, or the runs' own objectives; in the order of `WELFARE`, the user's last.

    It imports functions of the user's that `welfare` names.
    """
    if welfare == "all":
        return list(dict.fromkeys((*WELFARE, *objectives)))
    wanted = welfare.split(",") if welfare else objectives
    for name in wanted:
        if name not in WELFARE and ":" not in name and name not in installed(WELFARE.kind):
            raise UsageError(
                f"--welfare {name}: expected all, or names from {', '.join(WELFARE)}, or module:Name, "
                "separated by commas"
            )
    try:
        own = [name for name in dict.fromkeys(wanted) if name not in WELFARE.builtin]
        for name in own:
            WELFARE.take(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return [*(name for name in WELFARE if name in wanted), *own]


def range_of_years(text: str) -> tuple[int, int]:
    """`20-29` or `20` as first and last year."""
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()) or int(last or first) < int(first):
        raise UsageError(f"--years {text}: expected a year or a range of years, e.g. 20-29")
    return int(first), int(last or first)


# -- reading -----------------------------------------------------------------------------------------------------

YEARS = """
SELECT year, list(wage ORDER BY agent) AS wage, list({counts} ORDER BY agent) AS utility,
       list(income ORDER BY agent) AS income,
       list(posttax ORDER BY agent) AS posttax, list(regret ORDER BY agent) AS regret
FROM panel WHERE run_id = ? GROUP BY year ORDER BY year
"""


def _load(reader: Reader, row: Row, wanted: tuple[int, int] | None) -> EvaluatedRun:
    """A run with its years, and the years to judge: the requested ones, or the last tax year and all years."""
    run_id, config = int(row["run_id"]), config_of(dict(row))
    counts = "adjusted_utility" if config.satisfaction_counts else "utility"
    rows = reader.rows(YEARS.format(counts=counts), [run_id])
    if not rows:
        raise UsageError(f"run {run_id} has no complete year yet; there is nothing to judge")
    last = int(rows[-1]["year"])
    if wanted and wanted[1] > last:
        raise UsageError(f"--years {wanted[0]}-{wanted[1]}: run {run_id} has years 0 to {last}")
    computed = list(missing(reader, row))
    regret = {one.year: one.best.regret for one in computed}
    for one in rows:
        one["regret"] = regret.get(one["year"], one["regret"])
    year, *columns = (np.array([one[name] for one in rows]) for name in rows[0])
    tax_year = (last - last % config.two_timescale, last)
    law = reader.rows("SELECT * FROM years WHERE run_id = ? AND year = ?", [run_id, wanted[1] if wanted else last])
    world = restore(reader, run_id, config, 0)
    world.begin(wanted[1] if wanted else last)
    return EvaluatedRun(
        run_id=run_id,
        name=row["name"],
        setting=world.setting(),
        years=Years(year, *columns),
        last_law=schedule_of(law[0]),
        ranges=[wanted] if wanted else list(dict.fromkeys([tax_year, (0, last)])),
        yardsticks=_yardsticks(reader, run_id, computed),
        computed=computed,
        laws=judged(world, [("last law", schedule_of(law[0])), *beside(world.setting())]),
        law_notes=list(table_notes(world)),
        gains=of_stored_year(reader, run_id, world, wanted[1] if wanted else last),
        unanswered=list(unanswered.cautions(reader, run_id, reader.path)),
    )


def _yardsticks(reader: Reader, run_id: int, computed: Sequence[Yardsticks]) -> list[dict[str, Any]]:
    """Rows of the view `yardsticks`, with missing values replaced by computed ones."""
    rows = reader.rows("SELECT * FROM yardsticks WHERE run_id = ? ORDER BY year", [run_id])
    new = {one.year: one for one in computed}
    for row in rows:
        if (one := new.get(row["year"])) is not None:
            start, oracle = (one.welfare[name] for name in ("welfare_start", "welfare_oracle"))
            row |= one.welfare
            row["planner_share"] = planner_share(start, one.welfare["welfare_best_response"], oracle)
            row["mean_regret"] = float(one.best.regret.mean())
            row["equilibrium_gap"], row["gap_agent"] = one.gap
    return rows


def _best(setting: Setting, names: Sequence[str]) -> Best:
    """ORACLE with its certificate; the best laws under the other functions are further candidates."""
    rivals = tuple(oracles(setting, names).values())
    started = time.perf_counter()
    schedule, certificate = certified_oracle(setting, rivals)
    return Best(schedule, certificate, time.perf_counter() - started)


# -- judging -----------------------------------------------------------------------------------------------------


def _people(runs: list[EvaluatedRun], names: list[str]) -> People:
    """Judge the runs of the same people and all laws for them."""
    policies = [
        as_played(_span(run, *years), run.run_id, run.years.only(*years), names, run.setting)
        for run in runs
        for years in run.ranges
    ]
    policies += [by_law(called, runs[0].setting, law, names) for law, called in _all_laws(runs, names).items()]
    told = [
        f"{_span(run, *run.ranges[0])}: {caution.line}"
        for run in runs
        for caution in of_years(run.setting, run.last_law, run.years.only(*run.ranges[0]), policies, names)
    ]
    return People(runs, policies, {name: ranks(policies, name) for name in names}, on_front(policies), told)


def _span(run: EvaluatedRun, first: int, last: int) -> str:
    """The name of a run as a policy, with its judged years."""
    return f"run {run.run_id}, year{'' if first == last else 's'} {first}{'' if first == last else f'-{last}'}"


def _all_laws(runs: Sequence[EvaluatedRun], names: Sequence[str]) -> dict[TaxSchedule, list[str]]:
    """The laws of all baselines on the runs' brackets, and the last law of each run, with all their names."""
    found: dict[TaxSchedule, list[str]] = {}
    for run in runs:
        for law, called in laws(run.setting, names).items():
            found.setdefault(law, called if run is runs[0] else [f"{name} [as run {run.run_id}]" for name in called])
    for run in runs:
        found.setdefault(run.last_law, []).insert(0, f"last law of run {run.run_id}")
    return found


# -- storing -----------------------------------------------------------------------------------------------------


def keep(made: Evaluation, db: str, console: Console) -> None:
    """Store the scores in `evaluations` and missing yardsticks in `years`; print a note if that fails."""
    try:
        with Store(db) as store:
            for run in made.runs:
                put(store, run.run_id, run.computed)
            at = now()
            store.put_scores([{**row, "created_at": at} for row in scores(made)])
    except StoreError as error:
        console.print(f"The scores were not stored: {error}", style="dim", soft_wrap=True, highlight=False)


def scores(made: Evaluation) -> Iterator[dict[str, Any]]:
    """Rows of `evaluations`: one per run, policy and figure, for the run and for the laws it is compared with."""
    for people in made.people:
        for run in people.runs:
            for place, policy in enumerate(people.policies):
                if policy.run_id in (None, run.run_id):
                    yield from _policy_scores(people, place, run.run_id)
            yield from _law_scores(run)
            yield from _yardstick_scores(run, made.best[run.run_id])


def _policy_scores(people: People, place: int, run_id: int) -> Iterator[dict[str, Any]]:
    policy, among = people.policies[place], f"of {len(people.policies)}"
    front = f"{'on' if people.front[place] else 'off'} the front of equality and output"
    for subject in policy.names:
        key = {"run_id": run_id, "subject": subject}
        for name, value in policy.welfare.items():
            yield {**key, "metric": name, "score": value, "feedback": f"rank {people.places[name][place]} {among}"}
        yield {**key, "metric": "equality", "score": policy.equality, "feedback": front}
        yield {**key, "metric": "output", "score": policy.output, "feedback": front}


def _law_scores(run: EvaluatedRun) -> Iterator[dict[str, Any]]:
    """Each law's share of ORACLE's gain under the run's objective, and its value for fresh people."""
    for law in run.laws:
        key = {"run_id": run.run_id, "subject": law.label}
        yield {**key, "metric": "share_of_gain", "score": law.share, "feedback": "of ORACLE's gain over the start"}
        yield {**key, "metric": "on_fresh_people", "score": law.fresh, "feedback": unit_of(run.setting.welfare)}


def _yardstick_scores(run: EvaluatedRun, best: Best) -> Iterator[dict[str, Any]]:
    last, proof = run.yardsticks[-1], best.certificate
    figures: Mapping[str, float | None] = {
        "planner_share": last["planner_share"],
        "equilibrium_gap": last["equilibrium_gap"],
        "mean_regret": last["mean_regret"],
    }
    for metric, value in figures.items():
        key = {"run_id": run.run_id, "subject": f"run {run.run_id}, year {last['year']}", "metric": metric}
        yield {**key, "score": value, "feedback": None}
    rates = "/".join(f"{rate:g}" for rate in best.schedule.rates)
    yield {
        "run_id": run.run_id,
        "subject": f"ORACLE of {run.setting.welfare}",
        "metric": "best_move",
        "score": proof.improvement,
        "feedback": f"{rates}: largest gain from moving one or two rates by {moves()} points, from the best of "
        f"{proof.starts} starts with {proof.optima} local optima",
    }
