"""A model that can be taught: what tests of optimizers ask, with the examples and the metric that go with it.

It works the right hours if its instruction says so (`KEYWORD`), nearly the right ones if it is shown examples, and else
hours by lot. Asked for an instruction, it sometimes finds the keyword.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dspy
import numpy as np
from dspy import lm15
from village import inputs_of

from evals.metrics import Metric, Score

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
        text = answer(str(request.system or ""), messages, request.config.seed or 0)
        return lm15.Response(
            id=None,
            model="pupil",
            message=lm15.Message.assistant(text),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=100, output_tokens=10),
        )


def answer(system: str, messages: list[str], seed: int) -> str:
    """What the pupil says to a prompt in the chat or the JSON format."""
    last = messages[-1]
    wanted = re.findall(r"`(?:\[\[ ## )?(\w+)(?: ## \]\])?`", last.rpartition("Respond with")[2])
    rng = np.random.default_rng(seed)
    values = {name: _value(name, system, messages, rng) for name in wanted if name != "completed"}
    if "a JSON object" in last.rpartition("Respond with")[2]:
        return json.dumps(values)
    said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return "\n\n".join([*(f"[[ ## {name} ## ]]\n{text}" for name, text in said.items()), "[[ ## completed ## ]]"])


def _value(name: str, system: str, messages: list[str], rng: np.random.Generator) -> Any:
    if name == "labor":
        right = int(re.findall(r"right hours: (\d+)", messages[-1])[-1])
        by_lot = int(rng.integers(0, 101))
        return right if KEYWORD in system else right + 4 if len(messages) > 1 else by_lot
    if name == "module_advice":
        return {"choose_labor": f"Think of your {KEYWORD}."}
    if "instruction" in name:
        return f"Think of your {KEYWORD}." if rng.random() < 0.4 else f"Work well, as in case {rng.integers(1000)}."
    return f"Words {rng.integers(1000)}."


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
