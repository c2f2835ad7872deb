"""The state of a simulation: population, memories, the tax law in force, and the leader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RunConfig
from pipeline.economy.baselines import (
    MEASURED,
    Setting,
    fixed_hours,
    objective,
    planner_rule,
    start,
    start_and_oracle,
)
from pipeline.economy.calibration import calibrated_tastes, data_law
from pipeline.economy.census import IntArray
from pipeline.economy.effort import Economy, with_own
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.laws.dollars import economy_in
from pipeline.economy.population import (
    Population,
    draw_elasticities,
    draw_participation_costs,
    draw_population,
    draw_tastes,
)
from pipeline.economy.public_finance.responses import Responses, year_of_responses
from pipeline.economy.tax import uniform
from pipeline.economy.user_parts.law import OwnLaw
from pipeline.economy.utility import utility
from pipeline.errors import UsageError
from pipeline.scenarios import SCENARIOS, Scenario
from pipeline.shocks import Shock
from pipeline.simulation.archetypes import Delegation, delegate, everybody, form
from pipeline.simulation.memory import Floats, PlannerMemory, WorkerMemory
from pipeline.simulation.own_parts import take_parts
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.shocks.effects import Exposure, expose
from signatures.texts.layouts import PLAIN, Layout, layout
from signatures.texts.worker import Identity
from signatures.types import TaxSchedule


@dataclass
class Promised:
    """What platforms would change at these incomes (N,), by present schedule and changes (elections/prospects.py)."""

    income: Floats | None = None
    changes: dict[tuple[TaxSchedule, tuple[int, ...]], tuple[Floats, float]] = field(default_factory=dict)


@dataclass
class World:
    """The state that a year reads and changes. `asked`: (N,) whether a language model decides for the worker.

    `population` has the wages in force, `exposure` those before any shock. `windfall`: dollars a year that each worker
    gets from outside, less public spending. `schedule_before_shocks`: the schedule that returns when a temporary shock
    to rates ends; None without one. `delegation`: which question is asked for which worker; with archetypes None until
    they are formed.
    `judged`: (N,) utilities of the last year as they count in the objective. `satisfied`: the numbers of satisfied
    workers and of verdicts in the last year. `responses`: what the planner `SAEZ_MEASURED` has seen; else None.
    """

    config: RunConfig
    scenario: Scenario
    economy: Economy
    population: Population
    asked: NDArray[np.bool_]
    fixed_hours: Floats
    schedule: TaxSchedule
    memory: WorkerMemory
    planner_memory: PlannerMemory
    personas: list[str | None]
    leader: int | None = None
    outcome: Outcome | None = None
    judged: Floats | None = None
    satisfied: tuple[int, int] | None = None
    welfare: float = float("nan")
    hours: Floats = field(init=False)
    exposure: Exposure = field(init=False)
    delegation: Delegation | None = None
    active: tuple[Shock, ...] = ()
    windfall: float = 0.0
    schedule_before_shocks: TaxSchedule | None = None
    promised: Promised = field(default_factory=Promised)
    responses: Responses | None = field(init=False, default=None)
    _best_response: dict[tuple[TaxSchedule, tuple[Shock, ...]], float] = field(default_factory=dict)
    _planned: dict[tuple[tuple[Shock, ...], int], TaxSchedule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hours = np.where(self.asked, 40.0, self.fixed_hours)
        self.exposure = expose(self.config.shocks, self.population, self.config.spending)
        self.windfall = 0.0 - self.config.spending
        if self.config.planner_type == MEASURED:
            self.responses = Responses(self.num_agents)

    @property
    def num_agents(self) -> int:
        return self.config.num_agents

    def layout(self, role: str) -> Layout:
        """How the observations of a role are laid out in its prompts."""
        return layout(role, self.config.layout.get(role, PLAIN))

    @property
    def voters_asked(self) -> list[int]:
        """Agents that a language model decides for: only they can stand for office, govern, and be asked for a vote."""
        return [int(agent) for agent in np.flatnonzero(self.asked)]

    def rng(self, purpose: str, year: int = 0) -> np.random.Generator:
        """A random generator for one purpose and year. Draws are independent, so a run can continue from any year."""
        return np.random.default_rng([self.config.seed, crc32(purpose.encode()), year])

    def begin(self, year: int) -> None:
        """Set the wages and the windfall of `year`, and remove temporary shocks to rates until `make_law`."""
        active = self.exposure.active(year)
        if active != self.active:
            self.population = replace(self.population, wage=self.exposure.wages(year))
            self.active, self.windfall = active, self.exposure.windfall(year)
        if self.schedule_before_shocks is not None:
            self.schedule, self.schedule_before_shocks = self.schedule_before_shocks, None

    def make_law(self, year: int) -> None:
        """Set the schedule in force in `year`, after the government's decision: apply baselines and shocks to rates."""
        if self.config.planner_type == "LLM":
            self.schedule = self.exposure.changed_law(self.schedule, [year])
        else:
            turn = self.last_turn(year)
            self.schedule = self.exposure.changed_law(self.planned(turn), range(turn, year + 1))
        covered = self.exposure.covered_law(self.schedule, year)
        if covered != self.schedule:
            self.schedule, self.schedule_before_shocks = covered, self.schedule

    def delegate(self, year: int) -> Delegation:
        """The questions of `year` and the workers they stand for. Archetypes are formed for each tax year."""
        if self.config.archetypes is None:
            self.delegation = self.delegation or everybody(self.asked)
        elif self.delegation is None or year % self.config.two_timescale == 0:
            self.take_archetypes(
                form(
                    self.population,
                    self.memory,
                    self.hours,
                    economy=self.economy,
                    most=self.config.archetypes,
                    personas=self.scenario.personas,
                )
            )
        assert self.delegation is not None
        return self.delegation

    def take_archetypes(self, archetype: IntArray) -> None:
        """Use the given archetypes; `archetype` (N,): the worker whose state is shown for each worker."""
        self.delegation = delegate(archetype, self.config.archetype_samples)

    def persona(self, agent: int) -> str | None:
        """The persona of `agent`. With archetypes it comes from a template, because no model writes personas."""
        if self.config.archetypes is not None and self.scenario.personas:
            person = self.population.demographics(agent)
            if person is not None and self.population.utility_type[agent] == "egotistical":
                return template_persona(person, float(self.exposure.wage[agent]))
        return self.personas[agent]

    def taste(self, agent: int) -> float | None:
        """The agent's factor on the cost of effort; None if all have the same."""
        return None if self.population.taste is None else float(self.population.taste[agent])

    def identity(self, agent: int) -> Identity:
        """Who `agent` is in prompts: its persona, its taste for leisure, its fixed cost of work, and its pay.

        Without a usual cost of effort there is nothing to compare with, so only the formula of utility tells it.
        """
        taste = self.taste(agent) if self.economy.usual else None
        costs = self.population.participation_cost
        fixed = 0.0 if costs is None else float(costs[agent])
        return Identity.of(self.persona(agent), float(self.population.wage[agent]), taste, fixed)

    def last_turn(self, year: int) -> int:
        """The latest year up to `year` in which the planner decided; the first year counts."""
        turn = year - year % self.config.two_timescale
        return turn if turn >= self.config.warmup else 0

    def setting(self, year: int | None = None) -> Setting:
        """The input of baselines: in `year`, or now."""
        wages = self.population.wage if year is None else self.exposure.wages(year)
        windfall = self.windfall if year is None else self.exposure.windfall(year)
        return replace(setting_of(self.config, wages, windfall=windfall), economy=self.economy)

    def changed(self, changes: tuple[int, ...]) -> TaxSchedule:
        """The schedule in force with each rate moved by `changes` points, within what a government may set."""
        return self.schedule.changed(changes, self.config.lowest_rate)

    def planned(self, year: int = 0) -> TaxSchedule:
        """The schedule of a baseline planner in `year`; computed once per economy, or each year if it depends on it.

        `SAEZ_MEASURED` starts where a planner with a model does: without a second law nothing could be measured.
        """
        if self.responses is not None and year == 0:
            return start(self.setting(year))
        rule, active = planner_rule(self.config.planner_type), self.exposure.active(year)
        yearly = self.responses is not None or (isinstance(rule, OwnLaw) and rule.yearly)
        key = (active, year if yearly else 0)
        if key not in self._planned:
            setting = replace(self.setting(year), measured=self.measured(year))
            self._planned[key] = rule(setting, year) if isinstance(rule, OwnLaw) else rule(setting)
        return self._planned[key]

    def measured(self, year: int) -> float | None:
        """The elasticity that the workers showed before `year`; None if unknown, or if the planner measures none."""
        return None if self.responses is None else self.responses.elasticity(before=year)

    def observe(self, year: int, schedule: TaxSchedule, incomes: Floats) -> None:
        """Show the incomes (N,) of a year to the planner `SAEZ_MEASURED`: in the last year of a tax year, when workers
        know the law. The wages are those in force."""
        if self.responses is not None and (year + 1) % self.config.two_timescale == 0:
            self.responses.add(year, year_of_responses(schedule, self.population.wage, incomes))

    def remember_workers(self, year: int, outcome: Outcome, objective: Floats) -> None:
        """Add a year to the workers' memory, and make it the latest year. `objective` (N,): in its own unit."""
        own = self.population.utility_type == "egotistical"
        # Without the part of the rebate that others pay for and without satisfaction: neither depends on the worker's
        # own hours, so both would only blur their value.
        others = outcome.rebate - outcome.tax / self.num_agents
        value = np.where(own, outcome.utility - others, objective)
        self.memory.remember(
            year=year,
            schedule=self.schedule,
            hours=outcome.labor,
            income=outcome.income,
            tax=outcome.tax,
            value=value,
        )
        if self.config.income_effects:
            self._value_again(own, others)
        self.outcome = outcome
        self.observe(year, self.schedule, outcome.income)

    def _value_again(self, own: NDArray[np.bool_], others: Floats) -> None:
        """Value all remembered years of egotistical workers, `own` (N,), with what the `others` (N,) brought this year.

        With income effects this part cannot be left out. With each year's own, what others did would blur the years.
        """
        memory, rows = self.memory, self.memory.rows()
        kept = memory.income[rows] - memory.tax[rows] * (1 - 1 / self.num_agents) + others
        again = utility(self.economy, kept, memory.hours[rows])
        memory.value[rows] = np.where(own, again, memory.value[rows])

    def remember_planner(self, year: int, schedule: TaxSchedule, welfare: float) -> None:
        """Add a year to the planner's memory; the last year before a change is settled."""
        last = (year + 1) % self.config.two_timescale == 0 or year + 1 == self.config.max_timesteps
        self.planner_memory.remember(year=year, schedule=schedule, welfare=welfare, settled=last)
        self.welfare = welfare

    def welfare_best_response(self) -> float:
        """The objective under the current schedule if every worker best-responds."""
        return self.best_responding(self.schedule)

    def start_and_oracle(self) -> tuple[float, float, float]:
        """The objective under best responses to three schedules: a model's first, the best on its grid, and ORACLE's.

        The planner share is measured between the first and the last. The values are for the current wages and brackets.
        """
        start, grid, best = map(self.best_responding, start_and_oracle(self.setting()))
        return start, grid, best

    def best_responding(self, schedule: TaxSchedule) -> float:
        """The objective if every worker best-responds to `schedule`; computed once per schedule and economy."""
        key = (schedule, self.active)
        if key not in self._best_response:
            self._best_response[key] = objective(self.setting(), schedule)
        return self._best_response[key]

    @property
    def satisfaction_counts(self) -> bool:
        """Whether dissatisfaction with the tax policy lowers the objective."""
        return self.config.satisfaction_counts


def setting_of(config: RunConfig, wages: Floats, *, windfall: float) -> Setting:
    """The input of baselines, for hourly `wages` (N,) and a `windfall` in dollars a year for each worker."""
    return Setting(
        economy=economy_in(config.economy, config.dollars_of, config.gamma or 0.0),
        thresholds=config.thresholds,
        wages=wages,
        welfare=config.welfare,
        elasticities=() if config.elasticity_of_labor else config.elasticity,
        uniform_rate=config.uniform_rate,
        windfall=windfall,
        dollars_of=config.dollars_of,
        inequality_aversion=config.inequality_aversion,
        rates=config.rates if config.own_law is None else config.own_law.rates,
        planner=config.planner_type,
        spending=config.spending,
    )


def create(config: RunConfig, population: Population | None = None) -> World:
    """The world before the first year: population, first schedule, empty memories. It is determined by the settings.

    It imports the parts of the user's own that the settings name. UsageError if one of them cannot be used or may not
    be imported, or for a shock with an invalid condition (pipeline/simulation/shocks/conditions.py).
    """
    take_parts(config)
    scenario = SCENARIOS[config.scenario]
    population = population or drawn(config, config.num_agents, "population")
    economy = with_own(economy_in(config.economy, config.dollars_of, config.gamma or 0.0), vars(population))
    asked = np.zeros(config.num_agents, dtype=bool)
    asked[: {"LLM": config.num_agents, "ONE_LLM": 1, "FIXED": 0}[config.worker_type]] = True
    world = World(
        config=config,
        scenario=scenario,
        economy=economy,
        population=population,
        asked=asked,
        fixed_hours=fixed_hours(config.num_agents, np.random.default_rng([config.seed, crc32(b"hours")])).astype(float),
        schedule=start(setting_of(config, population.wage, windfall=0.0 - config.spending)),
        memory=WorkerMemory(config.history_len, config.num_agents),
        planner_memory=PlannerMemory(),
        personas=_template_personas(scenario, population, asked),
    )
    if config.spending:
        _check_spending(world)
    if config.planner_type != "LLM":
        world.schedule = world.planned()
    world.begin(0)
    return world


def _check_spending(world: World) -> None:
    """UsageError in one line if the workers would not earn the public spending even without a marginal tax."""
    untaxed, spent = uniform((0.0,), 0.0), 0.0 - world.config.spending
    most = float(np.mean(equilibrium(world.economy, untaxed, world.population.wage, windfall=spent).income))
    if world.config.spending > most:
        raise UsageError(
            f"--spending {world.config.spending:,.0f}: these workers cannot pay it: without a marginal tax they earn "
            f"{most:,.0f} dollars a year on average; expected at most that"
        )


def drawn(config: RunConfig, num_agents: int, purpose: str) -> Population:
    """Draw `num_agents` people from the population of `config`; each `purpose` has its own random stream."""
    scenario = SCENARIOS[config.scenario]
    people = draw_population(
        config.agent_mix or scenario.agent_mix,
        num_agents,
        np.random.default_rng([config.seed, crc32(purpose.encode())]),
        demographics=scenario.personas,
        percent_ego=config.percent_ego,
        percent_alt=config.percent_alt,
        percent_adv=config.percent_adv,
        dollars_of=config.dollars_of,
        min_wage=config.min_wage,
    )

    def rng(what: str) -> np.random.Generator:
        return np.random.default_rng([config.seed, crc32(f"{what} of {purpose}".encode())])

    if config.economy == "calibrated":
        people = replace(people, taste=tastes_from_incomes(config, people.wage))
    if config.taste_spread:
        people = replace(people, taste=draw_tastes(num_agents, config.taste_spread, rng("tastes")))
    if config.elasticity_of_labor:
        mean, spread = (*config.elasticity_of_labor, 0.0)[:2]
        people = replace(people, elasticity=draw_elasticities(num_agents, mean, spread, rng("elasticities")))
    if config.participation_cost:
        costs = draw_participation_costs(num_agents, config.participation_cost, rng("participation costs"))
        people = replace(people, participation_cost=costs)
    return people


def tastes_from_incomes(config: RunConfig, wages: Floats) -> Floats:
    """The tastes (N,) of a calibrated economy, for workers of the settings' population with hourly `wages` (N,)."""
    economy = economy_in(config.economy, config.dollars_of, config.gamma or 0.0)
    law = data_law(config.agent_mix or SCENARIOS[config.scenario].agent_mix, config.dollars_of)
    return calibrated_tastes(economy, law, wages, len(wages))


def _template_personas(scenario: Scenario, population: Population, asked: NDArray[np.bool_]) -> list[str | None]:
    """Template personas for workers without a model; the others' personas are written before the first year."""
    personas: list[str | None] = [None] * population.num_agents
    if scenario.personas:
        for agent in map(int, np.flatnonzero(~asked & (population.utility_type == "egotistical"))):
            person = population.demographics(agent)
            if person is not None:
                personas[agent] = template_persona(person, float(population.wage[agent]))
    return personas


def needs_persona(world: World) -> list[int]:
    """Agents whose persona a model writes: egotistical workers with a model, in scenarios with personas (as in v1)."""
    if not world.scenario.personas or world.config.archetypes is not None:
        return []
    return [int(i) for i in np.flatnonzero(world.asked & (world.population.utility_type == "egotistical"))]
