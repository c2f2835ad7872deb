"""The language-model agents of a run: one program per role, asked concurrently and traced.

A failed answer is data: after retries and repairs, `ask` returns an `Answer` without a prediction, and the caller falls
back to the previous action. An error that no retry can fix (a wrong key, an unknown model) raises `ModelError` and ends
the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dspy
from dspy import lm15
from dspy.utils import exceptions as dspy_errors

from pipeline import permissions as proposals
from pipeline.agents import examples
from pipeline.agents.answer_types import checked
from pipeline.agents.budget import Amount, Budget, Capped
from pipeline.agents.call_trace import Trace
from pipeline.agents.callbacks import Callbacks
from pipeline.agents.model_errors import cannot_use
from pipeline.agents.question import Answer, Question
from pipeline.agents.role_modules import Roles, terms_of
from pipeline.agents.roles import QUESTIONS
from pipeline.agents.silent_roles import Hearing
from pipeline.config import ROLES, RunConfig
from pipeline.errors import ModelError, UsageError
from pipeline.store.call_rows import RUN_STRIDE, Call, Recorded
from programs.adapters.compact import CompactAdapter
from programs.adapters.repairing import ADAPTERS
from programs.calls import prices
from programs.calls.context import CallContext, entered
from programs.calls.model_names import RULES
from programs.calls.optional_parts import parse_omitted
from programs.calls.pacing import Pacer
from programs.models import Model, connect, is_remote, place_of, without_secrets
from programs.roles import saved_program
from programs.roles.interview import Interviewee
from programs.roles.voter import BallotModules
from programs.strategies.registry import strategy
from programs.strategies.sampling import answer_of
from signatures.texts.layouts import PLAIN

log = logging.getLogger("llm_economist")

FATAL = (
    dspy_errors.LMAuthError,
    dspy_errors.LMBillingError,
    dspy_errors.LMUnsupportedModelError,
    dspy_errors.LMConfigurationError,
    dspy_errors.LMUnsupportedFeatureError,
)
"""Errors that neither a retry nor another prompt can fix."""


QUIET = {"disable_history": True, "trace": None, "warn_on_type_mismatch": False}
"""DSPy's own history is off: it would keep every prompt in memory, and the store has them already."""


@dataclass
class Usage:
    """Running totals over a run."""

    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def add(self, calls: list[Call]) -> None:
        for call in calls:
            self.calls += 1
            self.failed += call.status != "ok"
            self.prompt_tokens += call.prompt_tokens or 0
            self.completion_tokens += call.completion_tokens or 0
            self.cost_usd += call.cost_usd or 0.0
            self.unpriced += call.cost_usd is None and call.response is not None

    def join(self, others: Mapping[str, Any]) -> None:
        """Add totals of calls that another process made."""
        for name, amount in others.items():
            setattr(self, name, getattr(self, name) + amount)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass
class LLMAgents:
    """All programs of a run. `run_id` is set once the run exists; `usage` and `calls` grow with each question.

    `recorded`: stored calls by (year, signature, agent), whose replies are reused; `offline`: use only those. `sink`
    gets every new call; without one, `calls` collects them. `under_way`: questions that worker processes are answering.
    `hearing`: which roles got a reply since its last `forget`.
    `cautions`: on saved programs that were tuned under other settings.
    """

    config: RunConfig
    model: str
    run_id: int = 0
    recorded: Recorded = field(default_factory=dict)
    offline: bool = False
    usage: Usage = field(default_factory=Usage)
    calls: list[Call] = field(default_factory=list)
    hearing: Hearing = field(default_factory=Hearing)
    cautions: list[str] = field(default_factory=list)
    under_way: int = 0
    sink: Callable[[Call], None] | None = None
    pools: examples.Pools = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.config
        proposals.refuse(config, self.model, offline=self.offline)
        try:
            self.lms = {name: self._connect(name) for name in dict.fromkeys(map(self.model_of, ROLES))}
            self.roles = Roles(
                {role: strategy(config.strategy_of(role)) for role in ROLES}, config.bracket_count, config.layout
            )
            self.modules: dict[str, dspy.Module] = {
                name: own for name in QUESTIONS if (own := self.roles.own_module(name)) is not None
            }
            for role, path in config.program.items():
                known = {"strategy": config.strategy_of(role), "adapter": config.adapter, "model": self.model}
                known["layout"] = config.layout.get(role, PLAIN)
                self.cautions += saved_program.load(getattr(self.roles, role), path, role=role, **known)
            terms_of(config).reword(self.roles)
            self.prices = prices.load(None if self.offline else config.prices)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.callbacks = Callbacks(() if self.offline else config.callback)
        self.adapter = ADAPTERS[config.adapter]()
        self.semaphore = asyncio.Semaphore(config.concurrency)
        self.pacer = Pacer()
        self.ballots = BallotModules(in_order=not isinstance(self.adapter, CompactAdapter))
        self.budget = self._budget()

    def model_of(self, role: str) -> str:
        """The name of the model that answers for `role`."""
        return self.config.role_llm.get(role, self.model)

    def _connect(self, name: str) -> dspy.LM:
        return connect(replace(named_model(self.config, name), offline=self.offline))

    def learn(self, pools: examples.Pools) -> None:
        """Set the examples from which strategies choose (pipeline/agents/examples.py)."""
        self.pools = pools
        examples.learn(self.modules, pools)

    def _budget(self) -> Budget:
        """The budget, including what a resumed run has already spent. UsageError if dollars are capped and a price is
        unknown."""
        config, known = self.config, {name: self.prices.of(name) for name in self.lms}
        for name, price in known.items():
            if config.max_cost_usd is not None and price is None and not self.offline:
                raise UsageError(
                    f"--max-cost-usd {config.max_cost_usd:g}: no price is known for {name}; give one in "
                    f'prices.toml or with --prices FILE: [models."{name}"] with input = 0.1 and output = 0.4, '
                    "in dollars per million tokens"
                )
        spent = Amount(self.usage.cost_usd, self.usage.tokens)
        return Budget(
            config.max_cost_usd, config.max_tokens, self.model, self.prices.of(self.model), spent, others=known
        )

    @property
    def budget_guard(self) -> Budget | None:
        """The budget that admits calls; None without caps or in a replay."""
        return self.budget if self.budget.capped and not self.offline else None

    @property
    def shown_model(self) -> str:
        """The models and their server, without secrets in URLs."""
        return ", ".join(map(self.shown, self.lms))

    def shown(self, model: str) -> str:
        """A model and its server, without secrets in its URL."""
        url = self.config.public()["base_url"]
        return model if url is None or model == RULES else f"{model} at {url}"

    async def ask(self, question: Question) -> Answer:
        """Ask `question`; at most `concurrency` questions are in flight at once."""
        role, _ = QUESTIONS[question.name]
        trace = self._trace(question, role)
        module, lm = self.modules[question.name], self.lms[trace.model]
        if question.ballot is not None:
            module = self.ballots.of(module, question.ballot)
        async with self.semaphore:
            if is_remote(lm):
                await self.pacer.turn()
            with self.budget.question():
                try:
                    context = CallContext.recorded_by(trace, self.budget_guard)
                    with entered(context, lm=lm, adapter=self.adapter, **QUIET, **self._listening()):
                        check = partial(checked, question=question, brackets=self.config.bracket_count)
                        answer = await _attempt(module, question.inputs, trace, check)
                        if answer.prediction is not None:  # stored replies count, too
                            self.hearing.heard.add(role)
                        return answer
                finally:
                    trace.report()

    def _listening(self) -> dict[str, Any]:
        """The user's DSPy callbacks as a setting of DSPy; nothing without any, which is faster."""
        own = self.callbacks.of_dspy
        return {"callbacks": [*dspy.settings.callbacks, *own]} if own else {}

    async def interview(self, question: Question, *, number: int, answer: Any = None) -> Answer:
        """Ask about a past year; `number`: the number of earlier interviews of this run. The run's caps do not apply.

        `answer`: the type of the answer, if it is not text.
        """
        trace = replace(self._trace(question, "interview"), interview=number)
        lm = self.lms[self.model].copy(num_retries=1)  # a person is waiting
        try:
            with entered(CallContext.recorded_by(trace), lm=lm, adapter=self.adapter, **QUIET):
                return await _attempt(Interviewee(answer).answer_interview, question.inputs, trace)
        finally:
            trace.report()

    def _trace(self, question: Question, role: str) -> Trace:
        shared, recorded = question.shared, question.recorded or self.recorded.pop(question.place, ())
        if shared is not None:  # of the agents that can be asked at once
            shared = replace(shared, count=min(shared.count, self.config.concurrency))
        return Trace(
            run_id=self.run_id,
            year=question.year,
            agent=question.agent,
            role=role,
            signature=question.name,
            strategy=self.config.strategy_of(role) if role in ROLES else "io",
            program=self.config.program.get(role),
            model=self.model_of(role),
            num_agents=self.config.num_agents,
            seed=self.config.seed,
            on_call=self.keep,
            recorded=list(recorded),
            offline=self.offline,
            prices=self.prices,
            same=shared,
        )

    def enter(self, run_id: int, sink: Callable[[Call], None] | None = None) -> None:
        """Assign all calls, including the preflight, to this run, and send them to `sink`."""
        self.run_id, self.sink = run_id, sink
        for call in self.calls:
            if call.run_id != run_id:
                call.run_id, call.call_id = run_id, call.call_id + run_id * RUN_STRIDE
        if sink is not None:
            for call in self.drain():
                sink(call)
        self.hearing.forget()  # the preflight does not answer a question of the run

    def keep(self, call: Call) -> None:
        """Count a call whose outcome is known, and store it."""
        self.usage.add([call])
        self.hearing.take(call)
        if call.status != "ok":
            log.debug("call %s (%s): %s: %s", call.call_id, call.signature, call.status, call.error)
        (self.sink or self.calls.append)(call)

    def drain(self) -> list[Call]:
        """The calls collected since the last drain, in the order of their ids."""
        calls, self.calls = sorted(self.calls, key=lambda call: call.call_id), []
        return calls

    async def preflight(self, *, year: int = 0, earlier: Sequence[Call] = ()) -> None:
        """Make one short call to each model before anything is spent. ModelError says in one line why one cannot be
        used.

        `earlier`: the stored preflights of this year if a run is resumed.
        """
        for number, (name, lm) in enumerate(self.lms.items()):
            if name != RULES:
                trace = replace(self._trace(Question("Preflight", {}, year), "preflight"), model=name).branch(number)
                trace.calls = [call for call in earlier if call.attempt in trace.attempts]
                trace.reported = len(trace.calls)
                await self._preflight(lm, trace)

    async def _preflight(self, lm: dspy.LM, trace: Trace) -> None:
        request = lm15.Request(
            model=lm.model,
            messages=(lm15.Message.user("Reply with the word OK."),),
            config=lm15.Config(max_tokens=lm.kwargs.get("max_tokens"), temperature=lm.kwargs.get("temperature")),
        )
        try:
            with entered(CallContext.recorded_by(trace, self.budget_guard)):
                # Of several servers, one that works is enough.
                await lm.copy(num_retries=max(1, len(lm.engine.engines) - 1)).acall(request)
        except Capped as capped:
            raise UsageError(f"not even one call fits: {capped}; raise the cap") from capped
        except dspy_errors.LMError as error:
            raise ModelError(cannot_use(self.shown(trace.model), error, place_of(lm))) from error
        trace.report()


def named_model(config: RunConfig, name: str) -> Model:
    """The model `name` with the run's settings."""
    return Model(
        name,
        base_url=config.base_url,
        timeout=config.timeout,
        temperature=config.temperature,
        max_tokens=config.max_output_tokens,
        concurrency=config.concurrency,
        rpm=config.rpm,
        tpm=config.tpm,
        omit=parse_omitted(config.omit),
        given=config.given,
    )


async def _attempt(
    module: dspy.Module, inputs: Mapping[str, Any], trace: Trace, check: Callable[..., dspy.Prediction] | None = None
) -> Answer:
    """The module's answer, with its outputs checked, or None and the error if its model gave no usable one."""
    try:
        prediction = await answer_of(module, inputs)
    except FATAL as error:
        raise ModelError(cannot_use(trace.model, error, place_of(dspy.settings.lm))) from error
    except (dspy_errors.AdapterParseError, dspy_errors.LMError) as error:
        return Answer(None, trace.calls, error=without_secrets(str(error))[:300])
    except Exception as error:
        log.exception("strategy %s of role %s failed", trace.strategy, trace.role)
        what = f"{type(error).__name__}: {without_secrets(str(error))[:200]}"
        raise ModelError(f"{_whose(trace)} failed ({what}); see the run's log") from error
    if check is not None:
        prediction = check(prediction, whose=_whose(trace))
    return Answer(prediction, trace.calls, call_id=trace.answered_by)


def _whose(trace: Trace) -> str:
    return f"strategy {trace.strategy} of role {trace.role}"
