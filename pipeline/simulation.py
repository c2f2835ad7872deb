"""The Stackelberg loop: propose or elect, work, tax, rebate, utility, record. One commit per year.

The planner moves once every `two_timescale` years, workers move every year, all of them at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline import observations as see
from pipeline.config import RunConfig
from pipeline.economy.equilibrium import Outcome, settle
from pipeline.economy.utility import adjusted_utility
from pipeline.economy.welfare import WELFARE
from pipeline.errors import ModelError
from pipeline.government import Government, govern
from pipeline.memory import Floats
from pipeline.minds import Answer, Minds, Respondents
from pipeline.people import write_personas
from pipeline.records import Year, agent_rows, program_rows, run_row, year_tables
from pipeline.store import Store, row_of
from pipeline.traces import Recorded
from pipeline.world import World, create, needs_persona

WORKER_EXPLOIT_FROM = 0.9
"""Workers exploit in the last tenth of the run, and in the last year of every tax year."""


def _nothing(year: int) -> Recorded:
    return {}


@dataclass
class Simulation:
    """A run that is being played.

    A new one needs neither `run_id` nor `world`. One that goes on from stored years has both, starts with year `start`,
    and uses the replies that `recorded` gives for a year again where the requests are the same.
    """

    config: RunConfig
    store: Store
    minds: Minds
    on_year: Callable[[Year], None] = lambda year: None
    run_id: int = 0
    world: World = None  # type: ignore[assignment]  # made from the settings unless given
    start: int = 0
    recorded: Callable[[int], Recorded] = _nothing
    fallbacks: int = 0

    def __post_init__(self) -> None:
        self.world = self.world or create(self.config)

    async def play(self) -> None:
        """Play all years. Raises ModelError when the model stops answering; finished years are in the store."""
        self.run_id = self.run_id or self.store.start_run(run_row(self.config, self.minds.model))
        self.minds.enter(self.run_id, lambda call: self.store.post(row_of(call)))
        self.minds.recorded = self.recorded(self.start)
        if not self.store.one("SELECT count(*) FROM agents WHERE run_id = ?", [self.run_id]):
            await self._set_up()
        for year in range(self.start, self.config.max_timesteps):
            if year > self.start:
                self.minds.recorded = self.recorded(year)
            played = await play_year(self.world, self.minds, year)
            self.store.write(year_tables(self.run_id, self.world, played))
            self.fallbacks += played.failed
            self.on_year(played)
            _refuse_silence(played, self.minds)

    async def _set_up(self) -> None:
        """Write personas, and store who takes part."""
        written = await write_personas(self.world, self.minds, self.store)
        self.store.write(
            {
                "programs": program_rows(self.run_id, self.config, self.minds.pools),
                "agents": agent_rows(self.run_id, self.world),
                "personas": written,
            }
        )


async def play_year(world: World, minds: Respondents, year: int) -> Year:
    """One year of the game; changes `world`."""
    config = world.config
    world.begin(year)
    government = Government()
    if config.planner_type == "LLM" and year % config.two_timescale == 0 and year >= config.warmup:
        government = await govern(world, minds, year)
    world.make_law(year)
    answers = await _choose_labor(world, minds, year)
    outcome = settle(world.economy, world.schedule, world.population.wage, world.hours, windfall=world.windfall)
    judged = await _judge(world, minds, year, outcome)
    satisfied = [judged[agent][0] if agent in judged else None for agent in range(world.num_agents)]
    content = np.array([verdict is not False for verdict in satisfied])
    adjusted = adjusted_utility(outcome.utility, content)
    welfare = float(WELFARE[config.welfare](adjusted, outcome.income, world.population.wage))
    played = Year(
        year=year,
        outcome=outcome,
        government=government,
        satisfied=satisfied,
        adjusted=adjusted,
        objective=_objective(world, adjusted, welfare),
        fallback=[agent in answers and answers[agent].prediction is None for agent in range(world.num_agents)],
        call_ids=[answers[agent].call_id if agent in answers else None for agent in range(world.num_agents)],
        welfare=welfare,
        welfare_best_response=world.welfare_best_response(),
        asked=government.asked + len(answers) + len(judged),
        failed=government.failed
        + sum(answer.prediction is None for answer in answers.values())
        + sum(verdict is None for verdict, _ in judged.values()),
    )
    _remember(world, played)
    return played


async def _choose_labor(world: World, minds: Respondents, year: int) -> dict[int, Answer]:
    """Every asked worker's hours, written to `world.hours`; a failed answer leaves last year's."""
    asked = world.voters_asked
    answers = await asyncio.gather(
        *(minds.ask("ChooseLabor", labor_inputs(world, agent, year), year=year, agent=agent) for agent in asked)
    )
    for agent, answer in zip(asked, answers, strict=True):
        if answer.prediction is not None:
            world.hours[agent] = float(answer.prediction.labor)
    return dict(zip(asked, answers, strict=True))


def labor_inputs(world: World, agent: int, year: int) -> dict[str, str]:
    """What a worker is shown before it chooses its hours."""
    rebate = world.outcome.rebate if world.outcome is not None else None
    kind = str(world.population.utility_type[agent])
    return {
        "objective": see.objective(kind, world.economy, world.config.welfare),
        "tax_schedule": str(world.schedule),
        "last_rebate": see.last_rebate(rebate),
        "identity": see.identity(world.personas[agent], float(world.population.wage[agent])),
        "record": see.worker_record(world.memory, agent, world.schedule),
        "phase": worker_phase(world.config, year),
    }


def worker_phase(config: RunConfig, year: int) -> str:
    """`exploit` in the last year before the schedule may change and in the last tenth of the run."""
    last_of_tax_year = (year + 1) % config.two_timescale == 0
    late = year >= WORKER_EXPLOIT_FROM * config.max_timesteps
    return "exploit" if last_of_tax_year or late else "explore"


async def _judge(
    world: World, minds: Respondents, year: int, outcome: Outcome
) -> dict[int, tuple[bool | None, int | None]]:
    """Verdicts of the people: agent -> (satisfied or None for a failed answer, call id)."""
    people = needs_persona(world) if world.scenario.satisfaction else []
    questions = (
        minds.ask("JudgeTaxPolicy", judge_inputs(world, agent, outcome), year=year, agent=agent) for agent in people
    )
    answers = await asyncio.gather(*questions)
    return {
        agent: (None if answer.prediction is None else bool(answer.prediction.satisfied), answer.call_id)
        for agent, answer in zip(people, answers, strict=True)
    }


def judge_inputs(world: World, agent: int, outcome: Outcome) -> dict[str, str]:
    """What a person is shown of the year that it judges the tax policy by."""
    return {
        "tax_schedule": str(world.schedule),
        "identity": see.identity(world.personas[agent], float(world.population.wage[agent])),
        "this_year": see.year_summary(
            hours=outcome.labor[agent],
            income=outcome.income[agent],
            tax=outcome.tax[agent],
            rebate=outcome.rebate,
            utility=outcome.utility[agent],
        ),
    }


def _objective(world: World, adjusted: Floats, welfare: float) -> Floats:
    """What each utility type got of what it wants: own adjusted utility, social welfare, or its opposite."""
    kind = world.population.utility_type
    return np.where(kind == "egotistical", adjusted, np.where(kind == "altruistic", welfare, -welfare))


def _remember(world: World, played: Year) -> None:
    world.remember_workers(played.year, played.outcome, played.objective)
    world.remember_planner(played.year, world.schedule, played.welfare)
    world.adjusted = played.adjusted


def _refuse_silence(played: Year, minds: Minds) -> None:
    """A year without a single reply is not a result: the model is gone. Replies that make no sense are one."""
    if played.asked and played.failed == played.asked and not minds.heard:
        raise ModelError(f"{minds.shown_model} gave no answer in year {played.year} ({minds.last_failure})")
    minds.heard = False
