"""Whole economies as examples, and a module that plays them: a program is judged by what its economy achieves.

An economy is small and lives in memory. The program under test answers for its role, on the language model of the
surrounding `dspy.context`; the engine `rules` answers for all other roles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import dspy
import numpy as np
from dspy.utils import exceptions as dspy_errors

from evals.datasets.exact_answers import QUESTION_OF, game
from evals.datasets.rule_agents import RuleAgents, assign_personas
from evals.datasets.simulated import Dataset, Sizes, check_sizes, dataset, economy_seeds
from evals.metrics.tax_rates import People, rates_in_words, welfare_score, yardsticks
from pipeline.agents.agents import FATAL, QUESTIONS
from pipeline.agents.model_errors import cannot_use
from pipeline.agents.question import Answer, Question
from pipeline.config import PLACEMENT, RunConfig, build
from pipeline.economy.equilibrium import regret
from pipeline.economy.planner_share import planner_share
from pipeline.errors import ModelError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import play_year
from pipeline.simulation.records import Year
from pipeline.simulation.world import World, create
from programs.calls.context import call_context, entered
from programs.roles.voter import BallotModules

EPISODE = "Episode"
"""The name that stands for a question in a dataset of economies."""

MOST_YEARS, LONGEST_TAX_YEAR = 12, 4
"""Maximum years of an economy and of its tax years: longer ones cost more calls and add little."""

NOT_OF_THE_ECONOMY = {
    *("llm", "base_url", "prompt_algo", "strategy", "program", "adapter", "name", "log_dir", "db", "timeout", "prices"),
    *("temperature", "max_output_tokens", "concurrency", "max_cost_usd", "max_tokens", "wandb", "debug", "role_llm"),
    *("use_multithreading", "seed", "worker_type", "rpm", "tpm", "omit", *PLACEMENT),
}
"""Settings of a run on how it asks and stores; in an episode every agent may be asked."""


def economies(role: str, config: RunConfig, *, sizes: Sizes, seed: int) -> Dataset:
    """Economies under the settings of `config`, each with its own seed; inputs are `seed` and `settings`.

    At most `MOST_YEARS` years, with tax years of at most `LONGEST_TAX_YEAR`. For a voter they are democratic, with
    platforms; for a persona writer the workers have personas; for a planner there are no elections.
    """
    check_sizes(sizes)
    settings, seeds = _settings(role, config), economy_seeds(seed)
    return dataset(EPISODE, [[_economy(next(seeds), settings) for _ in range(size)] for size in sizes])


def _economy(seed: int, settings: Mapping[str, Any]) -> dspy.Example:
    return dspy.Example(seed=seed, settings=dict(settings), economy_seed=seed, truth={}).with_inputs("seed", "settings")


def _settings(role: str, config: RunConfig) -> dict[str, Any]:
    """The settings that differ from the defaults, as plain data."""
    short = replace(
        game(QUESTION_OF[role], config),
        max_timesteps=min(config.max_timesteps, MOST_YEARS),
        two_timescale=min(config.two_timescale, LONGEST_TAX_YEAR),
        warmup=min(config.warmup, LONGEST_TAX_YEAR),
    )
    default = RunConfig().public()
    told = {name: value for name, value in short.public().items() if value != default[name]}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
    return {name: value for name, value in plain.items() if name not in NOT_OF_THE_ECONOMY}


class Rollout(dspy.Module):
    """Plays economies with `program` in its `role` and reports the results.

    `program`: the role's program as `pipeline.agents.agents.PROGRAMS` makes it, or only the module of its tuned
    question; the rules answer the rest. Called with the `seed` and `settings` of an example of `economies`. Every
    question is asked in its own task, in a `CallContext` whose `asked` holds its signature, year and agent. A
    question without a usable answer is answered as in a run: by the previous action.

    The prediction has `welfare` from 0 to 1 (`welfare_score`: 0 if nobody works, 1/2 for the lower of FREE_MARKET and
    the start, 1 for ORACLE) of the settings' objective, as played, averaged over all years; `welfares`, that average
    for every welfare function in its own unit; `planner_share` of the last schedule, None if there is too little to
    gain; `mean_regret` of all workers, in dollars a year, and `regret_share`, relative to best utility; `story`, the
    schedules in words; and the workers (`people`).

    ModelError if the model cannot be used at all.
    """

    def __init__(self, role: str, program: dspy.Module) -> None:
        super().__init__()
        self.role = role
        self.program = program

    def forward(self, *, seed: int, settings: Mapping[str, Any]) -> dspy.Prediction:
        """Play one economy, synchronously; not inside a running event loop."""
        return run_async(self.aforward(seed=seed, settings=settings))

    async def aforward(self, *, seed: int, settings: Mapping[str, Any]) -> dspy.Prediction:
        """Play one economy."""
        config = build({**settings, "seed": seed, "llm": "rules"})
        world = create(config)
        llm_agents = OnTrial(seed, role=self.role, program=self.program)
        await assign_personas(world, llm_agents)
        account = Account(world)
        for year in range(config.max_timesteps):
            account.add(await play_year(world, llm_agents, year))
            llm_agents.trace()
        return dspy.Prediction(**account.closed(), asked=llm_agents.asked, failed=llm_agents.failed)


@dataclass
class OnTrial(RuleAgents):
    """A program answers for its role, rules for all others. Counts the questions `asked` and the `failed` ones."""

    role: str = "worker"
    program: dspy.Module = field(default_factory=dspy.Module)
    asked: int = 0
    failed: int = 0
    steps: dict[tuple[int, str, int], list[Any]] = field(default_factory=dict)
    ballots: BallotModules = field(default_factory=BallotModules)

    def trace(self) -> None:
        """Give DSPy the steps of a year in the order of the questions, not in the order of the replies."""
        if dspy.settings.trace is not None:
            dspy.settings.trace.extend(step for place in sorted(self.steps) for step in self.steps[place])
        self.steps = {}

    def own(self, question: str) -> dspy.Module | None:
        """The module of the program that asks `question`, if the question belongs to its role."""
        role, attribute = QUESTIONS[question]
        if role != self.role:
            return None
        known = {attribute for role, attribute in QUESTIONS.values() if role == self.role}
        if not any(hasattr(self.program, name) for name in known):
            return self.program if question == QUESTION_OF[self.role] else None
        return getattr(self.program, attribute, None)

    async def ask(self, question: Question) -> Answer:
        """The program's answer, None if it is unusable; or the rule's answer."""
        own, year, agent = self.own(question.name), question.year, question.agent
        if own is None:
            return await super().ask(question)
        self.asked += 1
        module = own if question.ballot is None else self.ballots.of(own, question.ballot)
        asked = {"signature": question.name, "year": year, "agent": agent}
        with entered(replace(call_context(), asked=asked)):
            try:
                answer, steps = await _traced(own, module, question.inputs)
                self.steps[year, question.name, -1 if agent is None else agent] = steps
                return Answer(answer, [])
            except FATAL as error:
                raise ModelError(cannot_use(str(dspy.settings.lm.model), error)) from error
            except (dspy_errors.AdapterParseError, dspy_errors.LMError) as error:
                self.failed += 1
                return Answer(None, [], error=str(error)[:300])


async def _traced(
    own: dspy.Module, asked: dspy.Module, inputs: Mapping[str, Any]
) -> tuple[dspy.Prediction, list[tuple[Any, ...]]]:
    """The answer of `asked`, and its steps for DSPy's trace, with the predictors of `own` in place of their copies.

    A ballot is asked by a copy typed to the names on it, whose predictors optimizers would not recognize.
    """
    with dspy.context(trace=[]):
        answer = await asked.acall(**inputs)
        steps = dspy.settings.trace
    originals = {id(copy): one for copy, one in zip(asked.predictors(), own.predictors(), strict=True)}
    return answer, [(originals.get(id(predictor), predictor), *rest) for predictor, *rest in steps]


@dataclass
class Account:
    """Accumulates the results of an economy's years."""

    world: World
    years: list[Year] = field(default_factory=list)
    laws: list[tuple[float, ...]] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    best_hours: list[float] = field(default_factory=list)

    def add(self, year: Year) -> None:
        """Add a year that was just played."""
        world = self.world
        missed = regret(world.economy, world.schedule, world.population.wage, year.outcome)
        self.years.append(year)
        self.laws.append(world.schedule.rates)
        self.regrets.append(float(missed.regret.mean()))
        self.shares.append(float(missed.regret.sum() / max(1.0, missed.best_utility.sum())))
        self.best_hours.append(float(missed.best_labor.mean()))

    def closed(self) -> dict[str, Any]:
        """The results over all years, as plain values."""
        people, welfares = self._people(), self._welfares()
        measure = yardsticks(people)
        gain = planner_share(measure.start, self.years[-1].welfare_best_response, measure.oracle)
        return {
            "welfare": welfare_score(welfares[people.welfare], measure),
            "welfares": welfares,
            "planner_share": gain,
            "mean_regret": float(np.mean(self.regrets)),
            "regret_share": float(np.mean(self.shares)),
            "mean_hours": float(np.mean([year.outcome.labor.mean() for year in self.years])),
            "best_hours": float(np.mean(self.best_hours)),
            "story": "; ".join(self._story()),
            "people": {each.name: getattr(people, each.name) for each in fields(People)},
        }

    def _people(self) -> People:
        config, wages = self.world.config, self.world.population.wage.tolist()
        thresholds = self.world.setting().thresholds
        return People(
            tuple(wages), thresholds, config.welfare, config.economy, config.dollars_of, config.inequality_aversion
        )

    def _welfares(self) -> dict[str, float]:
        """Each welfare function, as played, averaged over the years."""
        wage = self.world.population.wage
        return {
            name: float(np.mean([function(year.judged, year.outcome.income, wage) for year in self.years]))
            for name, function in self.world.setting().welfare_functions.items()
        }

    def _story(self) -> Iterator[str]:
        """Each schedule with the welfare of its last year as played."""
        for i, (year, law) in enumerate(zip(self.years, self.laws, strict=True)):
            if i + 1 == len(self.laws) or self.laws[i + 1] != law:
                yield f"{rates_in_words(law)} until year {year.year}: welfare {year.welfare:.5g}"
