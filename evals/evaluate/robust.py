"""`llm-economist eval --fresh N --elasticity ...`: laws judged on other people, of other elasticities.

ORACLE and SAEZ are computed for the people and the elasticity that a run knows. Each law is then judged on fresh
populations, drawn by the same settings from other random streams, under each elasticity. The planner share compares it
with an ORACLE that knows the fresh people and their elasticity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evals.compare.statistics import Interval, interval
from evals.evaluate.command import chosen
from pipeline.config import build
from pipeline.economy.baselines import (
    BASELINES,
    Setting,
    certified_oracle,
    computable,
    objective,
    start,
    start_in_words,
)
from pipeline.economy.planner_share import planner_share
from pipeline.errors import UsageError
from pipeline.simulation.fresh_people import BY_NUMBER, SUMS, fresh_people, with_elasticity
from pipeline.simulation.restore import restore
from pipeline.simulation.world import World, create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, schedule_of
from signatures.types import TaxSchedule

KNOWING = "ORACLE that knows"
"""The optimum for the fresh people at their own elasticity."""

LEAST, MOST = 0.05, 2.0
"""The elasticities that can be asked for."""

MOST_PEOPLE, MOST_POPULATIONS = 100_000, 100

PEOPLE = 100
"""The workers for whom ORACLE and SAEZ are computed if a law is judged without a run."""

Told = Callable[[str], None]
"""Called with what is being computed."""


@dataclass(frozen=True)
class Request:
    """`people` in each of `populations` fresh populations, judged under each of the `elasticities`."""

    people: int
    populations: int
    elasticities: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 2 <= self.people <= MOST_PEOPLE:
            raise UsageError(f"--fresh {self.people}: expected from 2 to {MOST_PEOPLE:,} people")
        if not 2 <= self.populations <= MOST_POPULATIONS:
            raise UsageError(
                f"--populations {self.populations}: expected from 2 to {MOST_POPULATIONS}, an interval needs two"
            )
        for value in self.elasticities:
            if not LEAST <= value <= MOST:
                raise UsageError(f"--elasticity {value:g}: expected elasticities from {LEAST:g} to {MOST:g}")


@dataclass(frozen=True)
class Row:
    """A law on fresh people: means over the populations, with 95 % intervals.

    `rates`: percent, None if they differ between populations. `welfare` in the objective's unit. `share`: of the gain
    of `KNOWING` over the start; None if there is too little to gain in a population.
    """

    elasticity: float
    policy: str
    rates: tuple[float, ...] | None
    welfare: Interval
    share: Interval | None


@dataclass(frozen=True)
class Robustness:
    """The rows of a run, or of a law without one. `believed`: the elasticity that ORACLE and SAEZ were computed with,
    None if the workers' own differ."""

    title: str
    run_id: int | None
    welfare: str
    believed: float | None
    request: Request
    rows: tuple[Row, ...]


def elasticities_in(text: str | None) -> tuple[float, ...]:
    """Elasticities from `0.2,0.4,0.8`; 0.2, 0.4 and 0.8 without a text. UsageError for anything else."""
    try:
        found = (0.2, 0.4, 0.8) if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--elasticity {text!r}: expected numbers separated by commas, e.g. 0.2,0.4,0.8") from None
    return tuple(dict.fromkeys(found))


def robustness(
    runs: Sequence[str], law: str | None, request: Request, *, db: str, people: Mapping[str, Any], told: Told
) -> list[Robustness]:
    """Judge each of the `runs`, or `law` without a run, for which `people` are drawn. UsageError for a bad request."""
    if runs and people:
        flag = next(iter(people)).replace("_", "-")
        raise UsageError(f"--{flag} goes with --law and no run: a run has its own people")
    if runs:
        worlds = list(_stored(runs, db))
        named = [] if law is None else [(law, _law_of(law, world)) for _, _, world in worlds]
        return [
            _judged(title, run_id, world, [("last law", world.schedule), *named[i : i + 1]], request, told)
            for i, (title, run_id, world) in enumerate(worlds)
        ]
    assert law is not None
    world = _created({"num_agents": PEOPLE, **people, "law": law})
    title = f"{law}; ORACLE and SAEZ for {world.num_agents:,} workers"
    return [_judged(title, None, world, [(law, world.schedule)], request, told)]


def _created(settings: Mapping[str, Any]) -> World:
    try:
        return create(build(dict(settings)))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _law_of(law: str, world: World) -> TaxSchedule:
    return _created({"law": law, "dollars_of": world.config.dollars_of, "num_agents": 1}).schedule


def _stored(runs: Sequence[str], db: str) -> Iterator[tuple[str, int, World]]:
    """Each run after its last year, with its law of that year."""
    with ReadOnlyStore(db) as reader:
        for row in chosen(reader, runs):
            run_id, config = int(row["run_id"]), config_of(dict(row))
            last = reader.rows("SELECT * FROM years WHERE run_id = ? ORDER BY year DESC LIMIT 1", [run_id])
            if not last:
                raise UsageError(f"run {run_id} has no complete year yet; there is nothing to judge")
            world = restore(reader, run_id, config, 0)
            world.begin(int(last[0]["year"]))
            world.schedule = schedule_of(last[0])
            yield f"run {run_id}, year {last[0]['year']}", run_id, world


def _judged(
    title: str, run_id: int | None, world: World, laws: list[tuple[str, TaxSchedule]], request: Request, told: Told
) -> Robustness:
    told(f"{title}: ORACLE and SAEZ")
    setting = world.setting()
    rules = computable(setting, {name: BASELINES[name] for name in ("SAEZ", "ORACLE")})
    policies = [(start_in_words(setting), start(setting)), *laws]
    policies += [(name, rules[name](setting)) for name in ("SAEZ", "ORACLE") if name in rules]
    rows: list[Row] = []
    for elasticity in request.elasticities:
        worth: dict[str, list[float]] = {name: [] for name, _ in policies}
        best = []
        for number in range(request.populations):
            told(f"{title}: elasticity {elasticity:g}, population {number + 1} of {request.populations}")
            fresh = _fresh(world, request.people, number, elasticity)
            for name, law in policies:
                worth[name].append(objective(fresh, law))
            best.append(certified_oracle(fresh, tuple(law for _, law in policies)).certificate.welfare)
        rows += _rows(elasticity, policies, worth, best, _scale(world, request))
    economy = setting.economy
    believed = float(economy.elasticity) if np.ndim(economy.response) == 0 else None
    return Robustness(title, run_id, setting.welfare, believed, request, tuple(rows))


def _fresh(world: World, people: int, number: int, elasticity: float) -> Setting:
    """The setting of a run with fresh people of one elasticity. UsageError if a shock names workers by number."""
    found = fresh_people(world, people=people, purpose=f"fresh people {number}")
    if found is None:
        raise UsageError(f"--fresh: {BY_NUMBER[0].lower()}{BY_NUMBER[1:]}")
    return replace(found.setting, economy=with_elasticity(found.setting.economy, elasticity))


def _scale(world: World, request: Request) -> float:
    """The factor that scales a sum over fresh people to the run's number of people."""
    return world.num_agents / request.people if world.config.welfare in SUMS else 1.0


def _rows(
    elasticity: float,
    policies: Sequence[tuple[str, TaxSchedule]],
    worth: Mapping[str, Sequence[float]],
    best: Sequence[float],
    scale: float,
) -> Iterator[Row]:
    first = worth[policies[0][0]]
    for name, law in policies:
        shares = [planner_share(low, value, high) for low, value, high in zip(first, worth[name], best, strict=True)]
        known = [share for share in shares if share is not None]
        share = interval(known) if len(known) == len(shares) else None
        yield Row(elasticity, name, law.rates, interval(scale * np.array(worth[name])), share)
    whole = None if share is None else interval([1.0] * len(best))
    yield Row(elasticity, KNOWING, None, interval(scale * np.array(best)), whole)
