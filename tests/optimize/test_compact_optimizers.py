"""DSPy's optimizers work on the compact format: demonstrations, instructions and hints reach the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import dspy
import pytest
from dspy import lm15
from support.village import CallRecorder, inputs_of, module_of, scripted_lm

from pipeline.agents.agents import QUIET
from programs.adapters.repairing import CompactAdapter
from programs.calls.context import CallContext, entered
from programs.models import Model, connect

KEYWORD = "Mind your record."


class Obedient:
    """Says what the schema of each request demands: the keyword for text, and 40 where the keyword is in the prompt."""

    supported_params = frozenset({"response_format"})
    supports_response_schema = True

    def complete(self, request: lm15.Request) -> lm15.Response:
        form, said = request.config.response_format, f"```\n{KEYWORD}\n```"
        if form is not None:
            self.labor = 40 if KEYWORD in str(request.system) else 30
            said = json.dumps({name: self.value(each) for name, each in form["schema"]["properties"].items()})
        message = lm15.Message.assistant(said)
        return lm15.Response(id=None, model="obedient", message=message, finish_reason="stop", usage=lm15.Usage())

    def value(self, schema: dict[str, Any]) -> Any:
        return {"string": KEYWORD, "integer": self.labor, "object": {"predict": KEYWORD}}[schema["type"]]


def examples(count: int = 6) -> list[dspy.Example]:
    inputs = inputs_of("ChooseLabor")
    return [
        dspy.Example(**{**inputs, "last_rebate": f"${n}"}, labor=n).with_inputs(*inputs) for n in range(30, 30 + count)
    ]


def score(example: dspy.Example, prediction: Any, *_: Any) -> float:
    return float(prediction is not None and prediction.labor == 40)


def noisy(example: dspy.Example, prediction: Any, luck: Iterator[float] = cycle((0.0, 0.1, 0.2, 0.3))) -> float:  # noqa: B008
    """SIMBA learns from samples that fare differently."""
    return score(example, prediction) or next(luck)


def advised(*args: Any) -> dspy.Prediction:
    """As GEPA wants it."""
    return dspy.Prediction(score=score(*args), feedback="Work 40 hours.")


def asked(program: dspy.Module, lm: dspy.LM) -> lm15.Request:
    lineage = CallRecorder()
    with entered(CallContext.recorded_by(lineage), lm=lm, adapter=CompactAdapter(), **QUIET):
        program(**inputs_of("ChooseLabor"))
    assert all(isinstance(outcome, dict) for outcome in lineage.outcomes)
    return lineage.attempts[-1].request


OPTIMIZERS: dict[str, Any] = {
    "labeled": lambda lm: dspy.LabeledFewShot(k=2),
    "bootstrap": lambda lm: dspy.BootstrapFewShot(metric=None, max_bootstrapped_demos=2, max_labeled_demos=0),
    "copro": lambda lm: dspy.COPRO(metric=score, prompt_model=lm, breadth=2, depth=1),
    "simba": lambda lm: dspy.SIMBA(
        metric=noisy, prompt_model=lm, bsize=2, num_candidates=2, max_steps=2, max_demos=0, num_threads=1
    ),
    "gepa": lambda lm: dspy.GEPA(metric=advised, reflection_lm=lm, max_metric_calls=20, reflection_minibatch_size=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_makes_is_what_the_model_reads(name: str) -> None:
    lm, module, train = scripted_lm(Obedient()), module_of("ChooseLabor", "cot"), examples()
    more = {"copro": {"eval_kwargs": {"num_threads": 1}}, "gepa": {"valset": train[3:]}}
    with dspy.context(lm=lm, adapter=CompactAdapter(), disable_history=True):
        program = OPTIMIZERS[name](lm).compile(module, trainset=train, **more.get(name, {}))
    (predictor,), request = program.predictors(), asked(program, lm)
    assert str(request.system).startswith(predictor.signature.instructions)
    if name in ("labeled", "bootstrap"):
        answers = [json.loads(message.text or "")["labor"] for message in request.messages if message.role != "user"]
        assert answers == [demo["labor"] for demo in predictor.demos]
        assert len(answers) == 2
    else:
        assert KEYWORD in predictor.signature.instructions


def test_refine_gives_its_hint_to_the_same_format() -> None:
    worker, rules = module_of("ChooseLabor", "cot"), connect(Model("rules"))
    worker.set_lm(rules)
    lineage = CallRecorder()
    refined = dspy.Refine(worker, N=2, reward_fn=lambda args, prediction: 0.0, threshold=1.0)
    context, lm = CallContext.recorded_by(lineage), scripted_lm(Obedient())
    with entered(context, lm=lm, adapter=CompactAdapter(), **{**QUIET, "trace": []}):
        assert refined(**inputs_of("ChooseLabor")).labor in range(101)
    first, advice, second = [attempt.request for attempt in lineage.attempts]
    assert '"advice": {...}' in str(advice.system)
    assert "hint_" not in str(first.system)
    assert "\nhint_: A hint to the module from an earlier run\n" in str(second.system)
    assert second.messages[-1].text == f"{first.messages[-1].text}\nhint_: {KEYWORD}"
