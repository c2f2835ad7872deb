"""States of stored runs: the inputs of an agent in a year of a run, rebuilt from the rows of the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import dspy

from evals.datasets.exact_answers import Asked, example
from pipeline.errors import UsageError
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.government import Platforms, in_order_of, planner_inputs, vote_inputs
from pipeline.simulation.loop import labor_inputs
from pipeline.simulation.own_parts import take_parts
from pipeline.simulation.personas import persona_inputs
from pipeline.simulation.restore import worlds
from pipeline.simulation.world import World
from pipeline.store.query import select
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run, schedule_of

COLUMNS = ("run_id", "year", "agent")


POPULATIONS = """
SELECT run_id, any_value(seed) AS seed, md5(string_agg(wage, ',' ORDER BY agent)) AS people
FROM runs JOIN agents USING (run_id) WHERE list_contains(?, run_id) GROUP BY run_id ORDER BY run_id
"""


class TraceLocation(NamedTuple):
    """Where a question was asked; `agent` is -1 for the planner."""

    run_id: int
    year: int
    agent: int


class TraceDataset:
    """The states of one `question` in a database that no run is writing. Use as a context manager."""

    def __init__(self, question: str, db: str) -> None:
        self.question, self.db = question, db

    def __enter__(self) -> Self:
        self.reader = ReadOnlyStore(self.db)
        return self

    def __exit__(self, *exc: object) -> None:
        self.reader.close()

    def places(self, query: str) -> list[TraceLocation]:
        """The places that `query` selects, each once, in order. UsageError unless the question was asked in all of them
        and has an exact answer there."""
        result = select(self.db, query)
        wanted = COLUMNS[:2] if self.question == "SetTaxRates" else COLUMNS
        if missing := [name for name in wanted if name not in result.columns]:
            raise UsageError(
                f"the query returns {', '.join(result.columns)} without {missing[0]}; select run_id, year, agent"
            )
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        if not rows:
            raise UsageError("the query returns no rows")
        return self.known(rows)

    def known(self, rows: Iterable[Mapping[str, Any]]) -> list[TraceLocation]:
        """The places in `rows`, checked as `places` does."""
        places = sorted({self._place(row) for row in rows})
        self._check(places)
        return places

    def _place(self, row: Mapping[str, Any]) -> TraceLocation:
        values = [row["run_id"], row["year"], -1 if self.question == "SetTaxRates" else row["agent"]]
        if not all(isinstance(value, int) for value in values):
            raise UsageError(f"run_id, year, agent must be whole numbers, not {', '.join(map(str, values))}")
        return TraceLocation(*values)

    def _check(self, places: Sequence[TraceLocation]) -> None:
        """UsageError if the question was not asked, or if the best answer cannot be known."""
        runs = sorted({place.run_id for place in places})
        configs = {run_id: config_of(find_run(self.reader, str(run_id))) for run_id in runs}
        for config in configs.values():
            take_parts(config)
        rule = {run_id: config.election_rule for run_id, config in configs.items()}
        asked = self._rows("run_id, year, coalesce(agent, -1) FROM lm_calls", runs, f"signature = '{self.question}'")
        unasked = set(places) - asked
        self._refuse(unasked, f"{self.question} was not asked there; see lm_calls for where it was")
        if self.question == "ChooseLabor":
            cut_off = set(places) - self._rows("run_id, year, agent FROM decisions", runs)
            self._refuse(cut_off, "the year was interrupted, so its schedule is unknown; join years")
            selfless = self._rows("run_id, 0, agent FROM agents", runs, "utility_type <> 'egotistical'")
            others = {place for place in places if place._replace(year=0) in selfless}
            self._refuse(others, "the agent does not maximize its own utility; join agents and select egotistical ones")
        if self.question == "CastVote":
            blank = self._rows("DISTINCT run_id, year, -1 FROM platforms", runs, "rate_changes IS NULL")
            vague = {place for place in places if place._replace(agent=-1) in blank}
            self._refuse(vague, "candidates had no platforms, so the best vote is unknown; use runs with --platforms")
            for place in sorted(place for place in places if ELECTION_RULES[rule[place.run_id]].form != "name"):
                why = f"ballots of {rule[place.run_id]} hold several names, but only single-name votes can be judged"
                self._refuse([place], f"{why}; use runs with --election-rule plurality")

    def _rows(self, what: str, runs: Sequence[int], where: str = "true") -> set[TraceLocation]:
        """Places in `runs`."""
        query = f"SELECT {what} WHERE {where} AND list_contains(?, run_id)"
        return {TraceLocation(*row.values()) for row in self.reader.rows(query, [runs])}

    def _refuse(self, places: Collection[TraceLocation], why: str) -> None:
        """UsageError that names the first of `places`, if there are any."""
        if places:
            run_id, year, agent = min(places)
            who = "" if agent < 0 else f", agent {agent}"
            raise UsageError(f"run {run_id}, year {year}{who}: {why} ({len(places)} such rows)")

    def economies(self, runs: Collection[int]) -> dict[int, int]:
        """The economy of each run: the lowest seed among the runs that share a seed or a population with it."""
        rows = self.reader.rows(POPULATIONS, [sorted(runs)])
        lowest = {row["run_id"]: int(row["seed"]) for row in rows}
        for _ in rows:  # chains of runs are not longer
            for key in ("seed", "people"):
                groups: dict[Any, list[int]] = {}
                for row in rows:
                    groups.setdefault(row[key], []).append(row["run_id"])
                for group in groups.values():
                    lowest |= dict.fromkeys(group, min(lowest[run_id] for run_id in group))
        return lowest

    def states(self, places: Sequence[TraceLocation], economy: Mapping[int, int]) -> dict[TraceLocation, dspy.Example]:
        """The example of each of the `places`."""
        return dict(self.each(places, economy))

    def each(
        self, places: Sequence[TraceLocation], economy: Mapping[int, int]
    ) -> Iterator[tuple[TraceLocation, dspy.Example]]:
        """The `places` with their examples, read run by run and year by year, in order."""
        for run_id in sorted({place.run_id for place in places}):
            for place, world, asked in self._askings(run_id, [place for place in places if place.run_id == run_id]):
                source = {"run_id": run_id, "year": place.year}
                yield place, example(self.question, world, asked, economy_seed=economy[run_id], **source)

    def _askings(self, run_id: int, places: Sequence[TraceLocation]) -> Iterator[tuple[TraceLocation, World, Asked]]:
        config = config_of(find_run(self.reader, str(run_id)))
        for year, world in worlds(self.reader, run_id, config, (place.year for place in places)):
            platforms: Platforms = {}
            others: Mapping[int, float] = {}
            if self.question == "ChooseLabor":  # rates change before hours are chosen
                law = "SELECT thresholds, rates FROM years WHERE run_id = ? AND year = ?"
                world.schedule = schedule_of(self.reader.rows(law, [run_id, year])[0])
                if config.income_effects:  # the worth of a dollar, and so the best hours, depend on it
                    others = self._others(run_id, year, world.num_agents)
            if self.question == "CastVote":
                platforms = self._platforms(run_id, year)
            for place in sorted(place for place in places if place.year == year):
                told = self._told_of(world, place)
                shown = in_order_of(world, told.agent, year, platforms)
                inputs = self._inputs(world, told, shown)
                yield place, world, Asked(told.agent, inputs, world.schedule, shown, others.get(told.agent))

    def _told_of(self, world: World, place: TraceLocation) -> TraceLocation:
        """The place whose state was shown: with archetypes, that of another member of the group."""
        archetype = world.delegate(place.year).archetype if self.question == "ChooseLabor" else None
        return place if archetype is None else place._replace(agent=int(archetype[place.agent]))

    def _inputs(self, world: World, place: TraceLocation, platforms: Platforms) -> Mapping[str, Any]:
        """The inputs at a place."""
        match self.question:
            case "ChooseLabor":
                return labor_inputs(world, place.agent, place.year)
            case "SetTaxRates":
                return planner_inputs(world, place.year)
            case "CastVote":
                return vote_inputs(world, place.agent, platforms)
            case _:
                return persona_inputs(world, place.agent)

    def _others(self, run_id: int, year: int, count: int) -> dict[int, float]:
        """What each worker got from the others' taxes and from outside in a year, in dollars."""
        query = "SELECT agent, rebate - tax / ? AS others FROM decisions WHERE run_id = ? AND year = ?"
        return {row["agent"]: row["others"] for row in self.reader.rows(query, [count, run_id, year])}

    def _platforms(self, run_id: int, year: int) -> Platforms:
        query = "SELECT candidate, rate_changes FROM platforms WHERE run_id = ? AND year = ? ORDER BY candidate"
        return {row["candidate"]: tuple(row["rate_changes"]) for row in self.reader.rows(query, [run_id, year])}
