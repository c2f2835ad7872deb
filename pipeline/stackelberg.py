"""The Stackelberg game as one DSPy module: every role is a submodule, and a call plays an economy.

DSPy's evaluation, optimizers, saving and per-module language models therefore work on the whole game. The loop of a run
(`pipeline.simulation.loop.play_years`) plays the years.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dspy
from dspy.utils import exceptions as dspy_errors

from pipeline.agents.agents import FATAL
from pipeline.agents.answer_types import checked
from pipeline.agents.given_modules import place_of_module
from pipeline.agents.given_parts import as_stored
from pipeline.agents.model_errors import cannot_use
from pipeline.agents.question import Answer, Question
from pipeline.agents.role_modules import Part, Roles, Rules, terms_of
from pipeline.agents.roles import MAIN_QUESTION, QUESTIONS
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import PLACEMENT, ROLES, TELEMETRY, RunConfig, build
from pipeline.errors import ModelError, UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.account import Account
from pipeline.simulation.lifecycle import Ending, carry_out, stored_run
from pipeline.simulation.loop import Simulation, play_years
from pipeline.simulation.personas import assign_personas
from pipeline.simulation.world import create
from programs.adapters.compact import CompactAdapter
from programs.adapters.repairing import ADAPTERS
from programs.calls.context import call_context, entered
from programs.calls.model_names import RULES
from programs.dspy_versions import DEFAULT_ADAPTER
from programs.roles.voter import BallotModules
from programs.strategies.sampling import answer_of

NOT_OF_THE_ECONOMY = frozenset(
    {
        *("llm", "base_url", "prompt_algo", "strategy", "program", "adapter", "name", "log_dir", "db", "timeout"),
        *("temperature", "max_output_tokens", "max_cost_usd", "max_tokens", "wandb", "debug", "role_llm", "prices"),
        *("use_multithreading", "worker_type", "rpm", "tpm", "omit", "examples", "callback", *PLACEMENT),
        *("trackio", *TELEMETRY),
    }
)
"""Settings that do not apply here, because DSPy decides how to ask and what to store; any agent may be asked."""

STORED = frozenset({"db", "name", "log_dir", "timeout", "max_cost_usd", "max_tokens", "prices", "rpm", "tpm", "debug"})
"""Settings on storing and limits, which a game takes together with `db`."""


ASKED = f"""
SELECT count(*), count(*) FILTER (NOT answered)
FROM (SELECT bool_or(status = 'ok') AS answered FROM lm_calls
      WHERE run_id = ? AND role <> 'preflight' AND model <> '{RULES}' GROUP BY year, signature, agent)
"""
"""Questions to a language model, and those without a usable answer."""


class Stackelberg(Roles):
    """A planner, workers, voters and a persona writer that play economies in memory.

    Each role takes the name of a strategy (`"io"`, `"cot"`, `"sc@5"`, `"module:Name"`), a callable from a signature to
    a module (`dspy.ChainOfThought`), or a module. A module that has the questions of its role as attributes
    (`choose_labor`, `judge_tax_policy`) is used as it is, and rules answer the questions that it lacks; any other
    module answers the main question of its role (`MAIN_QUESTION`), and the role's other questions are asked in the
    strategy `io`. `"rules"` answers for a role by rule, without a language model and without a predictor.

    `settings` are those of a run (`pipeline.config.RunConfig`) and the defaults of every call; with `db`, the run is
    stored in that database. The language model is that of the predictor (`set_lm`) or of the surrounding
    `dspy.context`. UsageError for an invalid argument.
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
        given: dict[str, Part] = {"worker": worker, "planner": planner, "voter": voter, "persona": persona}
        parts = {role: Rules() if part == RULES else part for role, part in given.items()}
        config = _configured(settings)
        super().__init__(parts, config.bracket_count, config.layout, terms_of(config))
        self.settings = settings
        self.names = {role: part for role, part in parts.items() if not isinstance(part, dspy.Module)}

    def forward(
        self, seed: int | None = None, settings: Mapping[str, Any] | None = None, **more: Any
    ) -> dspy.Prediction:
        """Play one economy; see `aforward`. If an event loop is running, the economy is played in a separate thread."""
        given = self._given(seed, settings, more)
        return run_async(self._played(given)) if given.get("db") is None else self._stored(given)

    async def aforward(
        self, seed: int | None = None, settings: Mapping[str, Any] | None = None, **more: Any
    ) -> dspy.Prediction:
        """Play the economy of `seed` to its end. `settings` and `more` replace the module's own settings.

        A question without a usable answer is answered as in a run: by the previous action. The prediction has

        - `welfare`: the objective as played in the last year, dollars per person per year (`paper`: a number);
        - `welfares`: each welfare function as played, its mean over the years, in its own unit;
        - `planner_share`: the part of ORACLE's gain over the start that the last schedule reaches; None for too little
          to gain;
        - `mean_regret`: dollars a year that the best hours would have added to a worker's utility, a mean over all
          decisions; `regret_share`: the same as a share of the best utility;
        - `satisfied`: the share of workers satisfied with the tax policy, over all years; None if none was asked;
        - `schedule`: the last one; `story`: all of them in words, each with its welfare;
        - `mean_hours` and `best_hours` a week; `people`: the workers as plain data;
        - `asked`, `failed`: questions to a language model, and those without a usable answer;
        - with `db`: `db`, `run` (its number), and `status` (`finished`, or `stopped` by a cap). The traces are then in
          the database, and not in DSPy's trace and history.

        ModelError if the model cannot be used at all; UsageError for a setting that cannot be used, or without a model.
        """
        given = self._given(seed, settings, more)
        if given.get("db") is None:
            return await self._played(given)
        return await asyncio.to_thread(self._stored, given)

    def load_state(self, state: dict[str, Any], **how: Any) -> None:
        """Take over instructions and demonstrations. UsageError if they are of a game with other modules."""
        lacking = [name for name, _ in self.named_parameters() if name not in state]
        if lacking:
            others = ", ".join(name for name in state if name != "metadata")
            raise UsageError(f"this game has the predictor {lacking[0]}, and the saved one has {others or 'none'}")
        super().load_state(state, **how)

    def _given(self, seed: int | None, settings: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a call. UsageError if the game cannot be played with them."""
        given = {**self.settings, **dict(settings or {}), **more, **({} if seed is None else {"seed": seed})}
        config = _configured(given)
        if config.bracket_count != self.brackets:
            raise UsageError(
                f"this Stackelberg was made for {self.brackets} brackets, and the economy has {config.bracket_count}: "
                f"make one with bracket_setting={config.bracket_setting!r}"
            )
        self._require_model()
        return given

    async def _played(self, given: Mapping[str, Any]) -> dspy.Prediction:
        """Play an economy in memory."""
        config = _configured(given)
        world = create(config)
        agents = GameAgents(config.seed, self.own_module, self.brackets, asyncio.Semaphore(config.concurrency))
        await assign_personas(world, agents)
        account = Account(world)
        async for year in play_years(world, agents):
            account.add(year)
            agents.extend_trace()
        return dspy.Prediction(**account.closed(), asked=agents.asked, failed=agents.failed)

    def _stored(self, given: Mapping[str, Any]) -> dspy.Prediction:
        """Play an economy as a run of the database `db`, with these modules as its programs."""
        found: dict[str, Any] = {}

        def play(simulation: Simulation) -> Ending:
            account = Account(simulation.world)
            ending = carry_out(simulation, account.add)
            simulation.store.flush()
            asked, failed = simulation.store.rows(ASKED, [simulation.run_id])[0].values()
            found.update(account.closed() if account.years else {}, asked=asked, failed=failed, status=ending.status)
            return ending

        parts, models = as_stored({**given, **self._as_settings(str(given["db"]))})
        db, run = stored_run(parts, play, models=models)
        return dspy.Prediction(**found, db=db, run=run)

    def _as_settings(self, db: str) -> dict[str, Any]:
        """The game's way of asking, as settings of a run: strategies, tuned programs, models and adapter."""
        asked = {role: module for role in ROLES if not isinstance(module := getattr(self, role), Rules)}
        for role, module in asked.items():
            self._require_strategy(role, module)
        models = {role: self._model_of(role) if role in asked else RULES for role in ROLES}
        return {
            "llm": next((models[role] for role in asked), RULES),
            "role_llm": models,
            "strategy": {role: self.names[role] for role in asked if role in self.names},
            "program": {role: module for role, module in asked.items() if self._tuned(role)},
            "adapter": _adapter_name(),
        }

    def _require_strategy(self, role: str, module: dspy.Module) -> None:
        """UsageError for a module that a stored run could not make again."""
        if role in self.names:
            return
        try:
            place_of_module(module, None)
        except UsageError as error:
            main = self.own_module(MAIN_QUESTION[role]) or module
            raise UsageError(
                f"{role}={type(main).__name__}(...): a stored run makes its modules from strategies; give a class or "
                "function that takes a signature and returns a module, or leave out db"
            ) from error

    def _model_of(self, role: str) -> dspy.BaseLM:
        """The language model of a role. UsageError if its predictors have several."""
        lms = {id(lm): lm for one in getattr(self, role).predictors() if (lm := one.lm or dspy.settings.lm)}
        if len(lms) > 1:
            raise UsageError(f"{role}: its predictors have {len(lms)} language models; a stored run has one for a role")
        return next(iter(lms.values()), RULES)

    def _tuned(self, role: str) -> bool:
        """Whether the role's program differs from what its strategy makes."""
        if role not in self.names:
            return True
        parts: dict[str, Part] = {**dict.fromkeys(ROLES, Rules()), role: self.names[role]}
        config = _configured(self.settings)
        plain = getattr(Roles(parts, self.brackets, config.layout, terms_of(config)), role)
        return _state(plain) != _state(getattr(self, role))

    def _require_model(self) -> None:
        """UsageError in one line if a predictor has no language model."""
        if dspy.settings.lm is None and any(predictor.lm is None for predictor in self.predictors()):
            raise UsageError(
                "Stackelberg has no language model: give one with dspy.configure(lm=...), dspy.context(lm=...) or "
                "set_lm(...), or let rules answer for a role, as in planner='rules'"
            )


def _configured(settings: Mapping[str, Any]) -> RunConfig:
    """The settings of an economy. UsageError for an unknown or invalid setting."""
    refused = NOT_OF_THE_ECONOMY - (STORED if settings.get("db") is not None else frozenset())
    for name in settings:
        if name in refused:
            raise UsageError(
                f"{name}={settings[name]!r:.60} has no meaning for Stackelberg: its modules say how roles are asked, "
                "dspy.context says which model and adapter, and db='FILE' stores the run"
            )
    try:
        return build({**settings, "llm": RULES})
    except ValueError as error:
        raise UsageError(str(error)) from error


def _is_compact() -> bool:
    """Whether DSPy's adapter is the compact one."""
    return isinstance(dspy.settings.adapter, CompactAdapter)


def _adapter_name() -> str:
    """The name of DSPy's adapter as a setting of a run. UsageError for one of the user's own."""
    adapter = dspy.settings.adapter
    kinds = {"chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter}
    names = [name for name, kind in (*kinds.items(), *ADAPTERS.items()) if type(adapter) is kind]
    if adapter is not None and not names:
        raise UsageError(f"{type(adapter).__name__}: a stored run has the adapter {', '.join(ADAPTERS)}")
    return names[0] if names else DEFAULT_ADAPTER


def _state(program: dspy.Module) -> dict[str, Any]:
    """Instructions and demonstrations of each predictor, without its model."""
    states = {name: predictor.dump_state() for name, predictor in program.named_predictors()}
    return {name: {**state, "lm": None} for name, state in states.items()}


@dataclass
class GameAgents(RuleAgents):
    """Answers with the modules of a game, and with rules for missing ones. Counts the questions `asked` and the
    `failed` ones.

    Every question is asked in its own task, with a `CallContext` whose `asked` holds its signature, year and agent.
    """

    own: Callable[[str], dspy.Module | None]
    brackets: int
    free: asyncio.Semaphore
    asked: int = 0
    failed: int = 0
    steps: dict[tuple[int, str, int], list[Any]] = field(default_factory=dict)
    ballots: BallotModules = field(default_factory=lambda: BallotModules(in_order=not _is_compact()))

    def extend_trace(self) -> None:
        """Add the steps of a year to DSPy's trace in the order of the questions, not of the replies."""
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
                    return Answer(
                        checked(answer, question, self.brackets, f"the {QUESTIONS[question.name][0]}'s module"), []
                    )
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
    """The answer of `asked`, and its steps for DSPy's trace, with the predictors of `own` instead of their copies.

    A ballot is asked by a copy that is typed to its names, and whose predictors optimizers would not recognize.
    """
    with dspy.context(trace=[]):
        answer = await answer_of(asked, inputs)
        steps = dspy.settings.trace
    originals = {id(copy): one for copy, one in zip(asked.predictors(), own.predictors(), strict=True)}
    return answer, [(originals.get(id(predictor), predictor), *rest) for predictor, *rest in steps]


def rules_but(**programs: dspy.Module) -> Stackelberg:
    """A game in which `programs` answer for their roles, and rules for all others."""
    return Stackelberg(**{**dict.fromkeys(ROLES, RULES), **programs})
