"""A model that can be taught: what tests of optimizers ask, with the examples and the metric that go with it.

It works the right hours if its instruction says so (`KEYWORD`), nearly the right ones if it is shown examples, and else
hours by lot. Asked for an instruction, it mostly finds the keyword. It is an engine, and a server's answers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
import numpy as np
from dspy import lm15

from evals.metrics.registry import Metric, Score
from evals.testing.openai_server import Reply, completion
from programs.engines.rules.prompt_parser import find
from programs.strategies.self_evaluation import hours_worth
from support.village import inputs_of

KEYWORD = "FAMILY"


@dataclass
class Pupil:
    """The engine. `requests` is what it was sent; `before` may raise or wait first, told the number of the request."""

    before: Callable[[int], None] = lambda number: None
    requests: list[lm15.Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    supported_params = frozenset({"seed"})

    def complete(self, request: lm15.Request) -> lm15.Response:
        with self.lock:
            number = len(self.requests)
            self.requests.append(request)
        self.before(number)
        messages = [message.text or "" for message in request.messages]
        return lm15.Response(
            id=None,
            model="pupil",
            message=lm15.Message.assistant(answer(str(request.system or ""), messages, request.config.seed or 0)),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=100, output_tokens=10),
        )


def served(number: int, body: Mapping[str, Any], *, delay: float = 0.0) -> Reply:
    """The same model behind `evals.testing.openai_server.Loopback`, as its fault."""
    system, *messages = (str(message["content"]) for message in body["messages"])
    return completion(answer(system, messages, body.get("seed", 0)), dict(body), delay=delay)


def answer(system: str, messages: Sequence[str], seed: int) -> str:
    """What the pupil says to a prompt, in the format that it asks for."""
    found = find(system, messages)
    if found is None:
        return "OK"
    question, form = found
    rng = np.random.default_rng(seed)
    taught, shown = KEYWORD in system, len(messages) > 1
    values: dict[str, Any] = {}
    for name in question.outputs:
        by_lot = int(rng.integers(0, 101))
        if name == "labor":
            right = right_hours(question.inputs)
            values[name] = right if taught else min(100, right + 4) if shown else by_lot
        elif name == "module_advice":
            values[name] = {"choose_labor": f"Think of your {KEYWORD}."}
        elif "instruction" in name:
            values[name] = f"Think of your {KEYWORD}." if by_lot < 70 else f"Work well, as in case {by_lot}."
        else:
            values[name] = f"Words {by_lot}."
    return form.write(values)


def right_hours(inputs: Mapping[str, str]) -> int:
    """The hours that a prompt says are right, or that its wage and schedule make best."""
    told = re.search(r"right hours: (\d+)", inputs.get("record", ""))
    if told:
        return int(told[1])
    return int(np.argmax([hours_worth(inputs, {"labor": hours}) for hours in range(101)]))


def example(number: int) -> dspy.Example:
    """A worker's state whose record says the right hours; `wage` and `economy_seed` are hidden."""
    right = int(np.random.default_rng(number).integers(20, 60))
    inputs = {**inputs_of("ChooseLabor"), "record": f"case {number}, right hours: {right}"}
    hidden = {"wage": 12345.678, "economy_seed": number}
    return dspy.Example(**inputs, labor=right, **hidden).with_inputs(*inputs)


def judge(case: dspy.Example, answer: dspy.Prediction | None) -> Score:
    if answer is None or "labor" not in answer:
        return Score(0.0, "there was no answer")
    assert case.wage == 12345.678, "a metric sees the whole example"
    missed = abs(case.labor - int(answer.labor))
    return Score(max(0.0, 1 - missed / 20), f"{missed} hours off")


NEARNESS = Metric(name="nearness", question="ChooseLabor", help="hours near the right ones", judge=judge)
