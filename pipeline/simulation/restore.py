"""Restore the state of a stored run before a given year, for resume, fork and interview."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.agents.call_trace import INTERVIEW, Recorded
from pipeline.agents.examples import POOL, Pools
from pipeline.config import NAMES, RunConfig, build
from pipeline.economy.dollars import brackets_in
from pipeline.economy.equilibrium import settle
from pipeline.economy.population import Population
from pipeline.economy.tax import marginal_rate
from pipeline.errors import StoreError, UsageError
from pipeline.simulation.memory import PlannerMemory
from pipeline.simulation.world import World, create
from pipeline.store.call_rows import Call
from pipeline.store.columns import Columns
from pipeline.store.query import connect
from pipeline.store.query_worker import Locked
from pipeline.store.schema import OPEN_HERE, OPENED, explained
from pipeline.store.snapshots import NoAnswer, snapshot
from pipeline.store.writer import Reader, Row
from pipeline.temporary_files import temporary_folder
from programs.text_files import parse_json
from signatures.types import TaxSchedule


class ReadOnlyStore:
    """A read-only database, or a copy as of the last commit while a run writes it in any process."""

    def __init__(self, path: str) -> None:
        self.path = path
        OPENED[path] = None
        self._copy: TemporaryDirectory[str] | None = None
        try:
            if Path(path).absolute() in OPEN_HERE:  # to open and close it would end this process's lock
                raise Locked(f"{path} is open for writing in this process, which hands out no copies")
            self.connection = connect(path)
        except Locked as locked:
            self._copy = temporary_folder()
            try:
                self.connection = connect(snapshot(path, self._copy.name))
            except BaseException as error:
                self._copy.cleanup()
                raise (locked if isinstance(error, NoAnswer) else error) from None

    def __enter__(self) -> ReadOnlyStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and remove the copy if one was made."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        with explained(self.path):
            cursor = self.connection.execute(query, list(parameters))
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns:
        with explained(self.path):
            return self.connection.execute(query, list(parameters)).fetchnumpy()


def find_run(reader: Reader, run: str) -> dict[str, Any]:
    """The row of a run, by number or by name (the newest with that name). UsageError lists the existing runs."""
    by = "run_id = ?" if run.isdecimal() else "name = ?"
    rows = reader.rows(f"SELECT * FROM runs WHERE {by} ORDER BY run_id DESC LIMIT 1", [run])
    if not rows:
        known = [str(row["run_id"]) for row in reader.rows("SELECT run_id FROM runs ORDER BY run_id DESC LIMIT 10")]
        raise UsageError(f"no run {run!r} in {reader.path}; it has: {', '.join(known) or 'none'}")
    return rows[0]


OLDER_DEFAULTS = {"satisfaction": "objective"}
"""The behavior of runs from before a setting existed, where it differs from the setting's default."""


def config_of(row: Row) -> RunConfig:
    """The stored settings of a run (URLs without credentials).

    Settings that did not exist yet get `OLDER_DEFAULTS`. A stranger may have written the file, so no code, file or
    address in the settings counts as confirmed (pipeline/permissions.py).
    """
    try:
        stored = {**OLDER_DEFAULTS, **object_in(row["config"], "its settings")}
        return build({name: value for name, value in stored.items() if name in NAMES} | {"given": frozenset()})
    except ValueError as error:
        raise StoreError(f"run {row['run_id']} has stored settings that cannot be used: {error}") from error


def object_in(text: str | None, what: str) -> dict[str, Any]:
    """Parse a JSON column that should hold an object. ValueError says why it does not."""
    if text is None:
        raise ValueError(f"{what} are missing (NULL)")
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"{what} are not a JSON object")
    return value


def years_played(reader: Reader, run_id: int) -> int:
    """The number of complete years. StoreError if they are not consecutive."""
    count, last = reader.rows("SELECT count(*) AS n, max(year) AS y FROM years WHERE run_id = ?", [run_id])[0].values()
    if count and last != count - 1:
        raise StoreError(
            f"run {run_id} in {reader.path} has {count} years, but the last is year {last}: years are missing"
        )
    return int(count)


def population_of(reader: Reader, run_id: int) -> tuple[Population, list[str | None]] | None:
    """The population of a run and its personas; None if the run ended before they were stored."""
    agents = reader.columns("SELECT * FROM agents WHERE run_id = ? ORDER BY agent", [run_id])
    if not len(agents["agent"]):
        return None
    texts = {name: _texts(agents[name]) for name in ("occupation", "sex", "persona")}
    known = texts["occupation"][0] is not None
    population = Population(
        wage=np.ma.getdata(agents["wage"]),
        utility_type=np.ma.getdata(agents["utility_type"]),
        occupation=texts["occupation"] if known else None,
        sex=texts["sex"] if known else None,
        age=np.ma.getdata(agents["age"]).astype(np.int64) if known else None,
    )
    return population, texts["persona"].tolist()


def _texts(column: NDArray[Any]) -> NDArray[np.object_]:
    """A text column with None for NULL."""
    texts = np.ma.getdata(column).astype(object)
    texts[np.ma.getmaskarray(column)] = None
    return texts


def restore(reader: Reader, run_id: int, config: RunConfig, before: int) -> World:
    """The world of a run as it was before the year `before`, under the settings `config`."""
    stored = population_of(reader, run_id)
    if stored is None:
        return create(config)
    population, personas = stored
    world = create(config, population)
    world.personas = personas
    years = reader.rows("SELECT * FROM years WHERE run_id = ? AND year < ? ORDER BY year", [run_id, before])
    for row in years:
        world.remember_planner(row["year"], schedule_of(row), row["welfare"])
    for row in years[-config.history_len :]:
        _remember_year(reader, run_id, world, row)
    _enact(world)
    return world


def worlds(reader: Reader, run_id: int, config: RunConfig, years: Iterable[int]) -> Iterator[tuple[int, World]]:
    """The world of a run before each of the `years`, in ascending order, each as from `restore`.

    All items are the same object, advanced from year to year so that each stored year is read once.
    """
    world: World | None = None
    between = "SELECT * FROM years WHERE run_id = ? AND year >= ? AND year < ? ORDER BY year"
    reached = 0
    for year in sorted(set(years)):
        if world is None:
            world = restore(reader, run_id, config, year)
        else:
            for row in reader.rows(between, [run_id, reached, year]):
                world.remember_planner(row["year"], schedule_of(row), row["welfare"])
                _remember_year(reader, run_id, world, row)
            _enact(world)
        reached = year
        yield year, world


def settings_of_year(reader: Reader, run: Row, year: int) -> Row:
    """The row of the run that simulated a year of `run`: a fork has its early years from its parent."""
    for each in with_ancestors(reader, run):
        run = each
        if each["fork_year"] is None or year >= each["fork_year"]:
            break
    return run


def with_ancestors(reader: Reader, run: Row) -> Iterator[Row]:
    """The rows of `run`, of its parent, and so on. StoreError if a run is its own ancestor."""
    seen = set()
    while True:
        if run["run_id"] in seen:
            raise StoreError(f"{reader.path} is damaged: run {run['run_id']} is a fork of itself; use another database")
        seen.add(run["run_id"])
        yield run
        parents = reader.rows("SELECT * FROM runs WHERE run_id = ?", [run["parent_run_id"]])
        if not parents:
            return
        run = parents[0]


def schedule_of(row: Row) -> TaxSchedule:
    """The tax schedule of a stored year."""
    return TaxSchedule(thresholds=tuple(row["thresholds"]), rates=tuple(row["rates"]))


def _remember_year(reader: Reader, run_id: int, world: World, row: dict[str, Any]) -> None:
    """Add a stored year to the workers' memory, and make it the latest year."""
    columns = [
        "labor",
        "adjusted_utility",
        "objective",
        "satisfied",
        *(["archetype"] if world.config.archetypes else []),
    ]
    query = f"SELECT {', '.join(columns)} FROM decisions WHERE run_id = ? AND year = ? ORDER BY agent"
    stored = reader.columns(query, [run_id, row["year"]])
    said = np.ma.getmaskarray(stored["satisfied"]) == 0
    decisions = {name: np.ma.getdata(column) for name, column in stored.items()}
    world.begin(row["year"])
    world.schedule, world.leader = schedule_of(row), row["leader"]
    if row.get("rates_beneath") is not None:
        world.schedule_before_shocks = TaxSchedule(
            thresholds=world.schedule.thresholds, rates=tuple(row["rates_beneath"])
        )
    world.hours = decisions["labor"]
    wages, labor = world.population.wage, decisions["labor"].copy()
    outcome = settle(world.economy, world.schedule, wages, labor, windfall=world.windfall)
    world.judged = decisions["adjusted_utility"] if world.satisfaction_counts else outcome.utility
    world.satisfied = (int(decisions["satisfied"][said].sum()), int(said.sum())) if said.any() else None
    world.remember_workers(row["year"], outcome, decisions["objective"])
    if "archetype" in decisions:
        world.take_archetypes(decisions["archetype"].astype(np.int64))
    world.begin(row["year"] + 1)


def _enact(world: World) -> None:
    """Put the schedule in force that the settings require, because a fork may change the planner or the brackets. The
    planner's records on other brackets are dropped."""
    thresholds = brackets_in(world.config.bracket_setting, world.config.dollars_of)
    if world.config.planner_type != "LLM":
        world.schedule = world.planned()
        return
    if world.schedule.thresholds != thresholds:
        world.schedule = on_brackets(world.schedule, thresholds)
    records = world.planner_memory.records.items()
    kept = {rates: record for rates, record in records if record.schedule.thresholds == thresholds}
    world.planner_memory = PlannerMemory(kept)


def stored_pools(reader: Reader, run_id: int) -> Pools:
    """The pools of examples of a run's strategies."""
    rows = reader.rows("SELECT state FROM programs WHERE run_id = ? AND state IS NOT NULL", [run_id])
    return {question: pool for row in rows for question, pool in json.loads(row["state"]).get(POOL, {}).items()}


def on_brackets(schedule: TaxSchedule, thresholds: tuple[float, ...]) -> TaxSchedule:
    """A schedule on other brackets, each with the schedule's marginal rate at its lower edge."""
    rates = marginal_rate(schedule, np.array(thresholds))
    return TaxSchedule(thresholds=thresholds, rates=tuple(float(rate) for rate in rates))


def recorded_calls(reader: Reader, run_id: int, year: int) -> Recorded:
    """The stored calls of a year by question, in the order in which they were made."""
    columns = ", ".join(field.name for field in fields(Call))
    query = (
        f"SELECT {columns} FROM lm_calls WHERE run_id = ? AND year = ? AND signature <> '{INTERVIEW}' ORDER BY call_id"
    )
    recorded: Recorded = {}
    for row in reader.rows(query, [run_id, year]):
        call = Call(**row)
        recorded.setdefault((call.year, call.signature, call.agent), []).append(call)
    return recorded


def known_calls(reader: Reader, run: Row, year: int) -> Recorded:
    """The stored calls of a year that a run can reuse, by attempt: its own, and those of a fork's parent."""
    known = recorded_calls(reader, int(run["run_id"]), year)
    if run["parent_run_id"] is not None:
        for question, calls in recorded_calls(reader, int(run["parent_run_id"]), year).items():
            if question[1] != "Preflight":
                known[question] = sorted((*calls, *known.get(question, ())), key=lambda call: call.attempt)
    return known
