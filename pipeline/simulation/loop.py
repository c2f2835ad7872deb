"""The simulation loop: each year, set taxes if due, choose hours, compute taxes and utilities, and store the year.

The planner (leader) moves once every `two_timescale` years; the workers (followers) all move at once in every year. A
year is one commit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.agents.agents import LLMAgents
from pipeline.agents.fan_out import ask_all
from pipeline.agents.question import Answer, Answerer
from pipeline.agents.silent_roles import Silence, governs
from pipeline.config import RunConfig
from pipeline.economy.census import IntArray
from pipeline.economy.equilibrium import Outcome, settle
from pipeline.economy.utility import adjusted_utility
from pipeline.errors import ModelError
from pipeline.parallel.pool import WorkerPool, divided
from pipeline.simulation import observations as see
from pipeline.simulation.archetypes import Delegation
from pipeline.simulation.gc_pause import rarely_collected
from pipeline.simulation.government import Government, govern
from pipeline.simulation.memory import Floats
from pipeline.simulation.personas import write_personas
from pipeline.simulation.records import (
    DISSATISFIED,
    NO_CALL,
    NO_VERDICT,
    Year,
    agent_columns,
    program_rows,
    run_row,
    year_tables,
)
from pipeline.simulation.world import World, create
from pipeline.store.call_rows import Recorded
from pipeline.store.writer import Store
from signatures.texts.worker import LastRebate, YearSummary

WORKER_EXPLOIT_FROM = 0.9
"""Workers exploit in the last tenth of the run, and in the last year of every tax year."""


def _nothing(year: int) -> Recorded:
    return {}


@dataclass
class Simulation:
    """A run in progress.

    A new run needs neither `run_id` nor `world`. A resumed run has both, starts with year `start`, and reuses the
    replies that `recorded` returns for a year if the requests are the same.
    """

    config: RunConfig
    store: Store
    llm_agents: LLMAgents
    on_year: Callable[[Year], None] = lambda year: None
    run_id: int = 0
    world: World = None  # type: ignore[assignment]  # made from the settings unless given
    start: int = 0
    recorded: Callable[[int], Recorded] = _nothing
    fallbacks: int = 0

    def __post_init__(self) -> None:
        self.world = self.world or create(self.config)

    async def play(self) -> None:
        """Simulate all years. Raises ModelError if the model stops answering; finished years are in the store."""
        if self.run_id:
            self.store.reopen_run(self.run_id)
        else:
            self.run_id = self.store.start_run(run_row(self.config, self.llm_agents.model))
        self.llm_agents.enter(self.run_id, self.store.post)
        self.llm_agents.recorded = self.recorded(self.start)
        with rarely_collected(), divided(self.llm_agents, self.store) as pool:
            await self._play(pool)

    async def _play(self, pool: WorkerPool | None) -> None:
        """Simulate all years, with questions answered by `pool` or, if None, by this process."""
        asked: Answerer = pool or self.llm_agents
        if not self.store.one("SELECT count(*) FROM agents WHERE run_id = ?", [self.run_id]):
            await self._set_up(asked)
            self.llm_agents.hearing.forget()  # a model that wrote personas may still fail to choose hours
        silence = Silence(self.config, self.start)
        async for played in play_years(self.world, asked, self.start, before=self._recall):
            if pool is not None:
                pool.ingest_calls()
            _refuse_silence(played, self.llm_agents, silence)
            self.store.write(year_tables(self.run_id, self.world, played))
            self.fallbacks += played.failed
            self.on_year(played)

    def _recall(self, year: int) -> None:
        """Take the stored replies of the year that begins; `play` has those of the first."""
        if year > self.start:
            self.llm_agents.recorded = self.recorded(year)

    async def _set_up(self, asked: Answerer) -> None:
        """Write personas, and store the programs, agents and personas of the run."""
        written = await write_personas(self.world, self.llm_agents, self.store, asked=asked)
        self.store.write(
            {
                "programs": program_rows(self.run_id, self.config, self.llm_agents.pools),
                "agents": agent_columns(self.run_id, self.world),
                "personas": written,
            }
        )


async def play_years(
    world: World, llm_agents: Answerer, start: int = 0, *, before: Callable[[int], None] = lambda year: None
) -> AsyncIterator[Year]:
    """Simulate the years from `start` to the end; changes `world`. `before` is told of each year that begins."""
    for year in range(start, world.config.max_timesteps):
        before(year)
        yield await play_year(world, llm_agents, year)


async def play_year(world: World, llm_agents: Answerer, year: int) -> Year:
    """Simulate one year; changes `world`."""
    config = world.config
    world.begin(year)
    government = Government()
    if governs(config, year):
        government = await govern(world, llm_agents, year)
    world.make_law(year)
    asked = world.delegate(year)
    answers = await _choose_labor(world, llm_agents, year, asked)
    outcome = settle(world.economy, world.schedule, world.population.wage, world.hours, windfall=world.windfall)
    judged = await _judge(world, llm_agents, year, outcome, asked)
    adjusted = adjusted_utility(outcome.utility, judged.satisfied != DISSATISFIED)
    counts = adjusted if world.satisfaction_counts else outcome.utility
    welfare = float(world.setting().objective(counts, outcome.income, world.population.wage))
    played = Year(
        year=year,
        outcome=outcome,
        government=government,
        satisfied=judged.satisfied,
        adjusted=adjusted,
        judged=counts,
        objective=_objective(world, counts, welfare),
        fallback=_spread([answer.prediction is None for answer in answers], asked.answer, default=False),
        call_ids=_spread(
            [NO_CALL if answer.call_id is None else answer.call_id for answer in answers], asked.answer, default=NO_CALL
        ),
        welfare=welfare,
        welfare_best_response=world.welfare_best_response(),
        asked=government.asked + len(answers) + judged.asked,
        failed=government.failed + sum(answer.prediction is None for answer in answers) + judged.failed,
    )
    _remember(world, played)
    return played


async def _choose_labor(world: World, llm_agents: Answerer, year: int, asked: Delegation) -> list[Answer]:
    """Ask for hours and write them to `world.hours`; after a failed answer, last year's hours stay."""
    inputs = ((agent, labor_inputs(world, shown, year)) for agent, shown in asked)
    answers = await ask_all(llm_agents, "ChooseLabor", inputs, year=year)
    said = [np.nan if answer.prediction is None else float(answer.prediction.labor) for answer in answers]
    hours = _spread(said, asked.answer, default=np.nan)
    world.hours = np.where(np.isnan(hours), world.hours, hours)
    return answers


def _spread(values: Sequence[Any], answered: IntArray, *, default: Any) -> NDArray[Any]:
    """Spread one value per question to workers (N,); `default` for workers without a question."""
    return np.array([*values, default])[answered]


def labor_inputs(world: World, agent: int, year: int) -> dict[str, str]:
    """The input fields of a worker's prompt before it chooses its hours."""
    rebate = world.outcome.rebate if world.outcome is not None else None
    kind, layout, wage = str(world.population.utility_type[agent]), world.layout("worker"), world.population.wage
    return {
        "objective": str(see.objective(kind, world.setting(), world.num_agents, agent, formula=layout.formula)),
        "tax_schedule": str(world.schedule),
        "last_rebate": str(LastRebate(rebate, world.config.spending)),
        "identity": str(world.identity(agent)),
        "record": str(
            see.worker_record(
                world.memory,
                agent,
                world.schedule,
                layout,
                wage=float(wage[agent]),
                economy=world.economy.of(slice(agent, agent + 1)) if layout.effort else None,
            )
        ),
        "phase": worker_phase(world.config, year),
    }


def worker_phase(config: RunConfig, year: int) -> str:
    """`exploit` in the last year before the schedule may change and in the last tenth of the run.

    In every year with --no-exploration, and in none with --no-exploitation.
    """
    if not config.exploration or not config.exploitation:
        return "explore" if config.exploration else "exploit"
    last_of_tax_year = (year + 1) % config.two_timescale == 0
    late = year >= WORKER_EXPLOIT_FROM * config.max_timesteps
    return "exploit" if last_of_tax_year or late else "explore"


@dataclass(frozen=True, eq=False)
class _Judged:
    """Verdicts on the year's tax policy (N,), as in `Year.satisfied`, and the number of questions and failures."""

    satisfied: NDArray[np.int8]
    asked: int = 0
    failed: int = 0


async def _judge(world: World, llm_agents: Answerer, year: int, outcome: Outcome, asked: Delegation) -> _Judged:
    """Ask egotistical workers for their verdict on the tax policy."""
    satisfied = np.full(world.num_agents, NO_VERDICT, dtype=np.int8)
    if not world.scenario.satisfaction:
        return _Judged(satisfied)

    people = world.population.utility_type == "egotistical"
    judges = [(number, *pair) for number, pair in enumerate(asked) if people[pair[1]]]
    inputs = ((agent, judge_inputs(world, shown, outcome)) for _, agent, shown in judges)
    answers = await ask_all(llm_agents, "JudgeTaxPolicy", inputs, year=year)
    said = np.full(len(asked.agent), NO_VERDICT, dtype=np.int8)
    for (number, _, _), answer in zip(judges, answers, strict=True):
        if answer.prediction is not None:
            said[number] = bool(answer.prediction.satisfied)
    satisfied = _spread(said.tolist(), asked.answer, default=NO_VERDICT).astype(np.int8)
    return _Judged(satisfied, len(answers), sum(answer.prediction is None for answer in answers))


def judge_inputs(world: World, agent: int, outcome: Outcome) -> dict[str, str]:
    """The input fields of a worker's prompt for its verdict on the tax policy."""
    return {
        "tax_schedule": str(world.schedule),
        "identity": str(world.identity(agent)),
        "this_year": str(
            YearSummary(
                hours=outcome.labor[agent],
                income=outcome.income[agent],
                tax=outcome.tax[agent],
                rebate=outcome.rebate,
                utility=outcome.utility[agent],
            )
        ),
    }


def _objective(world: World, utility: Floats, welfare: float) -> Floats:
    """The value of each worker's objective: own utility, social welfare, or its negative."""
    kind = world.population.utility_type
    return np.where(kind == "egotistical", utility, np.where(kind == "altruistic", welfare, -welfare))


def _remember(world: World, played: Year) -> None:
    world.remember_workers(played.year, played.outcome, played.objective)
    world.remember_planner(played.year, world.schedule, played.welfare)
    world.judged, world.satisfied = played.judged, played.verdicts


def _refuse_silence(played: Year, llm_agents: LLMAgents, silence: Silence) -> None:
    """ModelError if a year has no reply at all, or if one role gets none for years: the model is unreachable.

    Unusable replies still count as replies. The year is not stored, so a resumed run asks its questions again.
    """
    hearing, mute = llm_agents.hearing, silence.after(llm_agents.hearing)
    if played.asked and played.failed == played.asked and not hearing.heard:
        mute = dict.fromkeys(sorted(hearing.asked), 1)
    for role, years in mute.items():
        since = f", in {years} years in a row in which it was asked" if years > 1 else ""
        raise ModelError(
            f"role {role}: {llm_agents.shown(llm_agents.model_of(role))} gave no answer in year {played.year}{since} "
            f"({hearing.failure(role)})"
        )
    hearing.forget()
