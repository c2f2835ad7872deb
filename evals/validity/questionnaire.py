"""Ask the questions of a card, each once, and record how well each reply parsed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

import dspy
import numpy as np
from pydantic_core import to_jsonable_python

from evals.optimize.candidates import Question, question_of
from pipeline.agents.roles import PROGRAMS, QUESTIONS
from pipeline.agents.rule_agents import RULE_FOR
from pipeline.config import RunConfig
from pipeline.store.columns import as_json
from pipeline.studies.call_tree import CallNode
from pipeline.studies.dspy_callbacks import StudyCallbacks
from pipeline.studies.study import Study
from programs.calls.context import call_context, entered
from programs.engines.rules.engine import POLICIES
from programs.models import without_secrets
from programs.roles import saved_program
from programs.strategies.registry import strategy
from signatures.texts.layouts import PLAIN

log = logging.getLogger("llm_economist")


@dataclass(frozen=True)
class Ask:
    """A question, as a run would ask it. `sample`: questions that differ only in it are asked separately."""

    question: str
    inputs: Mapping[str, Any]
    sample: int = 0

    @property
    def key(self) -> str:
        """The identity of this question."""
        return as_json(to_jsonable_python([self.question, self.inputs, self.sample]))

    @property
    def brackets(self) -> int:
        """The number of rates in the current schedule; 1 if the question shows none."""
        return max(1, str(self.inputs.get("tax_schedule", "")).count("%"))


@dataclass
class Reply:
    """The result of a question: the answer or None, replies that parsed and that did not, and those with the reason."""

    answer: dspy.Prediction | None = None
    parsed: int = 0
    unparsed: list[tuple[str, str]] = field(default_factory=list)
    error: str | None = None

    def number(self, name: str) -> float:
        """The answer's field `name` as a number; nan without an answer."""
        return float("nan") if self.answer is None else float(getattr(self.answer, name))


@dataclass
class Panel:
    """Sends questions to `answer`, no question twice, and keeps all replies.

    `answer` is called from up to `threads` threads; `on_reply` is called after each.
    """

    answer: Callable[[Ask], Reply]
    threads: int = 1
    on_reply: Callable[[], None] = lambda: None
    replies: dict[str, tuple[Ask, Reply]] = field(default_factory=dict)

    def ask(self, asks: Iterable[Ask]) -> list[Reply]:
        """The replies to `asks`, in their order."""
        keyed = [(ask.key, ask) for ask in asks]
        new = {key: ask for key, ask in keyed if key not in self.replies}
        for (key, ask), reply in zip(new.items(), self._answers(list(new.values())), strict=True):
            self.replies[key] = ask, reply
            self.on_reply()
        return [self.replies[key][1] for key, _ in keyed]

    def _answers(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        if self.threads == 1 or len(asks) < 2:
            yield from map(self.answer, asks)
            return
        pool = ThreadPoolExecutor(self.threads)
        try:
            futures = [pool.submit(copy_context().run, self.answer, ask) for ask in asks]
            yield from (future.result() for future in futures)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # do not wait for the rest if one has ended the card


def by_rule(seed: int) -> Callable[[Ask], Reply]:
    """Answers without a model, for counting questions: the policies of `rules`."""

    def answer(ask: Ask) -> Reply:
        said = POLICIES[RULE_FOR[ask.question]](ask.inputs, np.random.default_rng(seed))
        return Reply(dspy.Prediction(**said), parsed=1)

    return answer


class Session(StudyCallbacks):
    """The phase of a study that makes a card: its calls are stored under the roles asked."""

    def __init__(self, study: Study, config: RunConfig) -> None:
        super().__init__(study, Question, lambda evaluated: None)
        self.config = config
        self.programs: dict[tuple[str, int], dspy.Module] = {}
        self.asked_now: dict[int, Reply] = {}

    def program(self, role: str, brackets: int) -> dspy.Module:
        """The role's program as in a run. ValueError if a saved one does not fit."""
        with self.study.changed:
            if (role, brackets) not in self.programs:
                how = self.config.strategy_of(role)
                made = PROGRAMS[role](strategy(how), brackets)
                if path := self.config.program.get(role):
                    known = {"adapter": self.config.adapter, "model": self.study.row["llm"]}
                    known["layout"] = self.config.layout.get(role, PLAIN)
                    saved_program.load(made, path, role=role, strategy=how, **known)
                self.programs[role, brackets] = made
            return self.programs[role, brackets]

    def answer(self, ask: Ask) -> Reply:
        """Ask one question, with repairs as in a run. Raises Capped, and Halted if the study cannot continue."""
        asked = question_of(ask.question, self.program(QUESTIONS[ask.question][0], ask.brackets))
        reply = self.asked_now[id(asked)] = Reply()
        try:
            with entered(replace(call_context(), asked=ask.sample or None)):
                reply.answer = asked(**ask.inputs)
        except Exception as error:  # errors beyond an unusable reply have halted the study
            self.study.check()
            reply.error = without_secrets(str(error))[:300]
            log.debug("%s: no usable reply: %s", ask.question, reply.error)
        finally:
            del self.asked_now[id(asked)]
        return reply

    def described(self, model: CallNode, enclosing_module: CallNode) -> dict[str, str]:
        """The role, its strategy, and the question, or the intermediate question of its strategy."""
        asked = model.question.instance
        signature = getattr(enclosing_module.instance, "signature", None)
        answers = signature is not None and RULE_FOR[asked.question] in signature.output_fields
        role = QUESTIONS[asked.question][0]
        name = asked.question if answers else getattr(signature, "__name__", "Text")
        return {"role": role, "signature": name, "strategy": self.config.strategy_of(role)}

    def parsed(self, fields: dict[str, Any]) -> None:
        with self.study.changed:
            self.asked_now[id(self.here.question.instance)].parsed += 1
        super().parsed(fields)

    def unparsed(self, reason: str) -> None:
        here = self.here
        said = here.enclosing_module.call.response if here.enclosing_module.call is not None else None
        with self.study.changed:
            self.asked_now[id(here.question.instance)].unparsed.append((reason, said or ""))
        super().unparsed(reason)
