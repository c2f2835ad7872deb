"""The Stackelberg game as one DSPy module: every role is a sub-module, and a call plays an economy.

What DSPy does with modules works on the whole game: evaluation, optimizers, saving, a language model for each role.
The years are played by the loop of a run (`pipeline.simulation.loop.play_year`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn, TypeAlias

import dspy
import numpy as np
from dspy.utils import exceptions as dspy_errors

from pipeline.agents.agents import FATAL, PROGRAMS, QUESTIONS
from pipeline.agents.model_errors import cannot_use
from pipeline.agents.question import Answer, Question
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import PLACEMENT, ROLES, RunConfig, build
from pipeline.economy.equilibrium import regret
from pipeline.economy.planner_share import planner_share
from pipeline.economy.tax import rates_in_words
from pipeline.economy.yardsticks import People, yardsticks
from pipeline.errors import ModelError, UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import play_year
from pipeline.simulation.personas import assign_personas
from pipeline.simulation.records import Year
from pipeline.simulation.world import World, create
from programs.calls.context import call_context, entered
from programs.calls.model_names import RULES
from programs.roles.voter import BallotModules
from programs.strategies.registry import Strategy, strategy
from programs.strategies.sampling import answer_of

MAIN_QUESTION: Mapping[str, str] = {
    "worker": "ChooseLabor",
    "planner": "SetTaxRates",
    "voter": "CastVote",
    "persona": "WritePersona",
}
"""The question that a module given for a role answers, and for which a role's program is tuned."""

NOT_OF_THE_ECONOMY = frozenset(
    {
        *("llm", "base_url", "prompt_algo", "strategy", "program", "adapter", "name", "log_dir", "db", "timeout"),
        *("temperature", "max_output_tokens", "max_cost_usd", "max_tokens", "wandb", "debug", "role_llm", "prices"),
        *("use_multithreading", "worker_type", "rpm", "tpm", "omit", "examples", *PLACEMENT),
    }
)
"""Settings of a run on how it asks and stores, which DSPy decides here; every agent may be asked."""

Part: TypeAlias = str | Strategy | dspy.Module
"""How a role is asked: a strategy's name, a strategy, a module, or `rules` for no language model."""


class Stackelberg(dspy.Module):
    """A planner, workers, voters and a writer of personas, who play economies in memory.

    Each role takes the name of a strategy (`"io"`, `"cot"`, `"sc@5"`, `"module:Name"`), a strategy (what takes a
    signature and returns a module, such as `dspy.ChainOfThought`), or a module. A module that has the questions of its
    role as attributes (`choose_labor`, `judge_tax_policy`) is used as it is, and rules answer the questions that it
    lacks; any other module answers the main question of its role (`MAIN_QUESTION`), and the role's other questions are
    asked in the strategy `io`. `"rules"` answers for a role by rule, without a language model and without a predictor.

    `settings` are those of a run (`pipeline.config.RunConfig`) and the defaults of every call. The language model is
    that of the predictor (`set_lm`) or of the surrounding `dspy.context`. UsageError for what cannot be used.
    """

    def __init__(
        self,
        *,
        worker: Part = "io",
        planner: Part = "io",
        voter: Part = "io",
        persona: Part = "io",
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.brackets = _configured(settings).brackets
        self.worker = _program("worker", worker, self.brackets)
        self.planner = _program("planner", planner, self.brackets)
        self.voter = _program("voter", voter, self.brackets)
        self.persona = _program("persona", persona, self.brackets)

    def forward(
        self, seed: int | None = None, settings: Mapping[str, Any] | None = None, **more: Any
    ) -> dspy.Prediction:
        """Play one economy; see `aforward`. Where an event loop is running, it is played in a thread of its own."""
        return run_async(self.aforward(seed, settings, **more))

    async def aforward(
        self, seed: int | None = None, settings: Mapping[str, Any] | None = None, **more: Any
    ) -> dspy.Prediction:
        """Play the economy of `seed` to its end. `settings` and `more` replace the module's own settings.

        A question without a usable answer is answered as in a run: by the previous action. The prediction has

        - `welfare`: the objective as played in the last year, dollars a head and year (`paper`: a number);
        - `welfares`: each welfare function as played, its mean over the years, in its own unit;
        - `planner_share`: the part of ORACLE's gain over the start that the last schedule reaches; None for too little
          to gain;
        - `mean_regret`: dollars a year that the best hours would have added to a worker's utility, a mean over all
          decisions; `regret_share`: the same as a share of the best utility;
        - `satisfied`: the share of workers satisfied with the tax policy, over all years; None if none was asked;
        - `schedule`: the last one; `story`: all of them in words, each with its welfare;
        - `mean_hours` and `best_hours` a week; `people`: the workers as plain data;
        - `asked`, `failed`: questions to a language model, and those without a usable answer.

        ModelError if the model cannot be used at all; UsageError for a setting that cannot be used, or without a model.
        """
        given = {**self.settings, **dict(settings or {}), **more, **({} if seed is None else {"seed": seed})}
        config = _configured(given)
        if config.brackets != self.brackets:
            raise UsageError(
                f"this Stackelberg was made for {self.brackets} brackets, and the economy has {config.brackets}: make "
                f"one with bracket_setting={config.bracket_setting!r}"
            )
        self._require_model()
        world = create(config)
        agents = GameAgents(config.seed, self.own_module, asyncio.Semaphore(config.concurrency))
        await assign_personas(world, agents)
        account = Account(world)
        for year in range(config.max_timesteps):
            account.add(await play_year(world, agents, year))
            agents.extend_trace()
        return dspy.Prediction(**account.closed(), asked=agents.asked, failed=agents.failed)

    def own_module(self, question: str) -> dspy.Module | None:
        """The module that asks `question` (a signature's name); None if rules answer it."""
        role, attribute = QUESTIONS[question]
        return getattr(getattr(self, role), attribute, None)

    def _require_model(self) -> None:
        """UsageError in one line if a predictor has no language model."""
        if dspy.settings.lm is None and any(predictor.lm is None for predictor in self.predictors()):
            raise UsageError(
                "Stackelberg has no language model: give one with dspy.configure(lm=...), dspy.context(lm=...) or "
                "set_lm(...), or let rules answer for a role, as in planner='rules'"
            )

    def deepcopy(self) -> Stackelberg:
        """An independent copy, without the history of calls, which has locks of its model."""
        bare = object.__new__(type(self))
        bare.__dict__.update(self.__dict__, history=[])
        copied: Stackelberg = dspy.Module.deepcopy(bare)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Stackelberg:
        return self.deepcopy()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "Stackelberg is not pickled, because loading a pickle can run any code; use save('game.json') and load"
        )


def _configured(settings: Mapping[str, Any]) -> RunConfig:
    """The settings of an economy. UsageError for one that is none, or that cannot be used."""
    for name in settings:
        if name in NOT_OF_THE_ECONOMY:
            raise UsageError(
                f"{name}={settings[name]!r:.60} has no meaning for Stackelberg: its modules say how roles are asked, "
                "dspy.context says which model and adapter, and llm_economist.simulate stores a run"
            )
    try:
        return build({**settings, "llm": RULES})
    except ValueError as error:
        raise UsageError(str(error)) from error


class Rules(dspy.Module):
    """A role without predictors: rules answer for it."""


def _program(role: str, part: Part, brackets: int) -> dspy.Module:
    """The program of a role. UsageError for what is neither a strategy nor a module."""
    if part == RULES:
        return Rules()
    if isinstance(part, dspy.Module):
        return _program_with(role, part, brackets)
    if not isinstance(part, str) and not callable(part):
        raise UsageError(f"{role}={part!r:.60}: expected the name of a strategy, a strategy, or a dspy.Module")
    try:
        made: dspy.Module = PROGRAMS[role](strategy(part), brackets)
    except ValueError as error:
        raise UsageError(f"{role}: {error}") from error
    return made


def _program_with(role: str, module: dspy.Module, brackets: int) -> dspy.Module:
    """`module` if it has questions of the role, else the role's program with `module` for its main question."""
    if any(hasattr(module, attribute) for owner, attribute in QUESTIONS.values() if owner == role):
        return module
    program: dspy.Module = PROGRAMS[role](dspy.Predict, brackets)
    setattr(program, QUESTIONS[MAIN_QUESTION[role]][1], module)
    return program


@dataclass
class GameAgents(RuleAgents):
    """The modules of a game answer, rules where there is none. Counts the questions `asked` and the `failed` ones.

    Every question is asked in its own task, in a `CallContext` whose `asked` holds its signature, year and agent.
    """

    own: Callable[[str], dspy.Module | None]
    free: asyncio.Semaphore
    asked: int = 0
    failed: int = 0
    steps: dict[tuple[int, str, int], list[Any]] = field(default_factory=dict)
    ballots: BallotModules = field(default_factory=BallotModules)

    def extend_trace(self) -> None:
        """Give DSPy the steps of a year in the order of the questions, not in the order of the replies."""
        if dspy.settings.trace is not None:
            dspy.settings.trace.extend(step for place in sorted(self.steps) for step in self.steps[place])
        self.steps = {}

    async def ask(self, question: Question) -> Answer:
        """The module's answer, None if it is unusable; or the rule's answer."""
        own, year, agent = self.own(question.name), question.year, question.agent
        if own is None:
            return await super().ask(question)
        self.asked += 1
        module = own if question.ballot is None else self.ballots.of(own, question.ballot)
        asked = {"signature": question.name, "year": year, "agent": agent}
        async with self.free:
            with entered(replace(call_context(), asked=asked)):
                try:
                    answer, steps = await _traced(own, module, question.inputs)
                    self.steps[year, question.name, -1 if agent is None else agent] = steps
                    return Answer(answer, [])
                except FATAL as error:
                    raise ModelError(cannot_use(str(_model_of(own)), error)) from error
                except (dspy_errors.AdapterParseError, dspy_errors.LMError) as error:
                    self.failed += 1
                    return Answer(None, [], error=str(error)[:300])


def _model_of(module: dspy.Module) -> Any:
    """The name of the language model of a module."""
    lms = [predictor.lm or dspy.settings.lm for predictor in module.predictors()] or [dspy.settings.lm]
    return getattr(lms[0], "model", lms[0])


async def _traced(
    own: dspy.Module, asked: dspy.Module, inputs: Mapping[str, Any]
) -> tuple[dspy.Prediction, list[tuple[Any, ...]]]:
    """The answer of `asked`, and its steps for DSPy's trace, with the predictors of `own` in place of their copies.

    A ballot is asked by a copy typed to the names on it, whose predictors optimizers would not recognize.
    """
    with dspy.context(trace=[]):
        answer = await answer_of(asked, inputs)
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
        """The results over all years."""
        people, last = self._people(), self.years[-1]
        measure = yardsticks(people)
        return {
            "welfare": last.welfare,
            "welfares": self._welfares(),
            "planner_share": planner_share(measure.start, last.welfare_best_response, measure.oracle),
            "mean_regret": float(np.mean(self.regrets)),
            "regret_share": float(np.mean(self.shares)),
            "satisfied": self._satisfied(),
            "schedule": self.world.schedule,
            "story": "; ".join(self._story()),
            "mean_hours": float(np.mean([year.outcome.labor.mean() for year in self.years])),
            "best_hours": float(np.mean(self.best_hours)),
            "people": {each.name: getattr(people, each.name) for each in fields(People)},
        }

    def _people(self) -> People:
        config, wages = self.world.config, self.world.population.wage.tolist()
        thresholds, taste = self.world.setting().thresholds, self.world.population.taste
        tastes = None if taste is None else tuple(taste.tolist())
        objective = config.welfare, config.economy, config.dollars_of, config.inequality_aversion
        return People(tuple(wages), thresholds, *objective, tastes)

    def _welfares(self) -> dict[str, float]:
        """Each welfare function, as played, averaged over the years."""
        wage = self.world.population.wage
        return {
            name: float(np.mean([function(year.judged, year.outcome.income, wage) for year in self.years]))
            for name, function in self.world.setting().welfare_functions.items()
        }

    def _satisfied(self) -> float | None:
        """The share of satisfied verdicts over all years; None without verdicts."""
        counts = [year.verdicts for year in self.years if year.verdicts is not None]
        return sum(yes for yes, _ in counts) / sum(asked for _, asked in counts) if counts else None

    def _story(self) -> Iterator[str]:
        """Each schedule with the welfare of its last year as played."""
        for i, (year, law) in enumerate(zip(self.years, self.laws, strict=True)):
            if i + 1 == len(self.laws) or self.laws[i + 1] != law:
                yield f"{rates_in_words(law)} until year {year.year}: welfare {year.welfare:.5g}"


def rules_but(**programs: dspy.Module) -> Stackelberg:
    """A game in which `programs` answer for their roles, and rules for all others."""
    return Stackelberg(**{**dict.fromkeys(ROLES, RULES), **programs})
