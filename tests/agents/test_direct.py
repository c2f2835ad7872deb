"""The short way to the model sends what DSPy's own way sends, and reads, repeats and fails as it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.callback import BaseCallback
from support.village import CallRecorder, Scripted, inputs_of, module_of, scripted_lm

from evals.testing.openai_server import Loopback
from pipeline.agents.agents import QUIET
from pipeline.agents.roles import QUESTIONS
from programs.adapters.repairing import ADAPTERS
from programs.calls import direct
from programs.calls.context import CallContext, entered
from programs.models import Model, connect
from programs.roles.worker import Worker
from signatures.worker import ChooseLabor


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


class Listener(BaseCallback):
    """Hears every model call, so that DSPy's own way is taken."""

    def __init__(self) -> None:
        self.heard = 0

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.heard += 1


def put(module: dspy.Module, inputs: dict[str, Any], lm: dspy.LM, *, adapter: str, **settings: Any) -> Any:
    """The prediction or the error, and what was reported of attempts and outcomes."""
    lineage = CallRecorder()

    async def asked() -> Any:
        context = CallContext.recorded_by(lineage)
        with entered(context, lm=lm, adapter=ADAPTERS[adapter](), **{**QUIET, **settings}):
            try:
                return (await module.acall(**inputs)).toDict()
            except dspy.LMError as error:
                return type(error), str(error)
            except dspy.AdapterParseError as error:
                return type(error), error.lm_response, error.parsed_result

    said = asyncio.run(asked())
    requests = [(attempt.request, type(attempt.error)) for attempt in lineage.attempts]
    return said, requests, lineage.outcomes


def both_ways(module: dspy.Module, inputs: dict[str, Any], make_lm: Any, *, adapter: str) -> Any:
    """The same question by the short way and by DSPy's; what came of it, which must be equal."""
    listener = Listener()
    short = put(module, inputs, make_lm(), adapter=adapter)
    long = put(module, inputs, make_lm(), adapter=adapter, callbacks=[listener])
    assert listener.heard >= 1
    assert short == long
    return short


every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)


@pytest.mark.first_cases(24)
@every_adapter
@pytest.mark.parametrize("strategy", ["io", "cot", "reflect"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_requests_and_predictions_are_those_of_dspys_way(question: str, strategy: str, adapter: str) -> None:
    said, requests, outcomes = both_ways(
        module_of(question, strategy), inputs_of(question), lambda: connect(Model("rules")), adapter=adapter
    )
    assert isinstance(said, dict)
    assert len(requests) == len(outcomes) >= 1


@pytest.mark.first_cases(24)
@every_adapter
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_server_is_asked_and_heard_as_in_dspys_way(question: str, adapter: str, server: Loopback) -> None:
    said, requests, outcomes = both_ways(
        module_of(question),
        inputs_of(question),
        lambda: connect(Model("gpt-4o-mini", base_url=server.url)),
        adapter=adapter,
    )
    assert isinstance(said, dict)
    assert outcomes == [said]
    assert (requests[0][0].config.response_format is not None) == (adapter in ("json", "compact"))


@every_adapter
def test_examples_are_told_as_in_dspys_way(adapter: str) -> None:
    module = module_of("ChooseLabor")
    module.demos = [dspy.Example(**inputs_of("ChooseLabor"), labor=hours) for hours in (30, 45)]
    _, requests, _ = both_ways(module, inputs_of("ChooseLabor"), lambda: connect(Model("rules")), adapter=adapter)
    assert len(requests[0][0].messages) == 5


@every_adapter
@pytest.mark.parametrize("bad", ["", "I would rather not say.", "{", '{"labor": 140}', "[[ ## labor ## ]]\n140"])
def test_replies_of_no_use_are_repaired_alike(bad: str, adapter: str) -> None:
    good = {"chat": "[[ ## labor ## ]]\n40\n\n[[ ## completed ## ]]", "xml": "<labor>40</labor>"}
    lines = [bad, good.get(adapter, '{"labor": 40}')]
    said, requests, _ = both_ways(
        module_of("ChooseLabor"), inputs_of("ChooseLabor"), lambda: scripted_lm(Scripted(lines)), adapter=adapter
    )
    assert said == {"labor": 40}
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("errors", "tries"),
    [
        ([lm15.RateLimitError("slow", retry_after=0.0), lm15.ServerError("down", retry_after=0.0)], 3),
        ([lm15.ServerError("down", retry_after=0.0)] * 9, 4),
        ([lm15.AuthError("no")], 1),
        ([lm15.InvalidRequestError("what")], 1),
        ([RuntimeError("a bug in an engine")], 1),
    ],
)
def test_errors_are_repeated_and_raised_alike(errors: list[Exception], tries: int) -> None:
    lines = [*errors, '{"labor": 40}']
    said, requests, _ = both_ways(
        module_of("ChooseLabor"),
        inputs_of("ChooseLabor"),
        lambda: scripted_lm(Scripted(lines), retries=3),
        adapter="compact",
    )
    assert len(requests) == tries
    assert isinstance(said, dict) == (tries == 3)


def plain(lm: dspy.LM, signature: Any = ChooseLabor, *, call: dict[str, Any] | None = None, **settings: Any) -> bool:
    with dspy.context(**{**QUIET, **settings}):
        return direct.settings_of(lm, call or {}, signature) is not None


class Watched(dspy.Signature):
    """A question with a type of DSPy's own."""

    picture: list[dspy.Image] = dspy.InputField()
    answer: str = dspy.OutputField()


def test_whatever_only_dspy_can_do_is_left_to_dspy() -> None:
    lm = connect(Model("rules"))
    assert plain(lm)
    assert plain(lm, call={"temperature": 0.2, "stop": ["."]})
    assert not plain(lm, callbacks=[Listener()])
    assert not plain(lm, disable_history=False)
    assert not plain(lm, send_stream=object())
    assert not plain(lm, usage_tracker=object())
    assert not plain(lm, call={"n": 2})
    assert not plain(lm, call={"rollout_id": 1})
    assert not plain(lm, call={"response_format": dspy.Signature})
    assert not plain(lm.copy(callbacks=[Listener()]))
    assert not plain(lm.copy(cache=True))
    assert not plain(dspy.LM("openai/gpt-4o-mini", api_key="none", cache=False))
    assert not plain(lm, Watched)


def test_a_call_keeps_its_own_settings() -> None:
    module = Worker(dspy.Predict, 3).choose_labor
    module.update_config(temperature=0.2)
    _, requests, _ = both_ways(module, inputs_of("ChooseLabor"), lambda: connect(Model("rules")), adapter="compact")
    assert requests[0][0].config.temperature == 0.2
