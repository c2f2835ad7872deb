"""Strategies that draw several answers and keep one: self-consistency, best of n, refinement."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from copy import copy
from dataclasses import replace
from functools import cache
from statistics import median_low
from typing import Any, TypeVar

import dspy
from dspy.utils.exceptions import AdapterParseError, LMError

from programs.calls.context import CallContext, call_context, entered
from programs.dspy_versions import printing_with, tell_refine
from programs.strategies import refine_prompt
from programs.strategies.self_evaluation import GOOD_ENOUGH, reward

log = logging.getLogger("llm_economist")
Result = TypeVar("Result")

NO_ANSWER = (AdapterParseError, LMError)
"""What a sample may fail with while the other samples continue."""


class SelfConsistency(dspy.Module):
    """`count` samples of a chain of thought, asked at once; the answer is what they agree on (`consensus`).

    Wang et al. 2023, arXiv 2203.11171. A sample that fails is left out; if all fail, the first failure is raised.
    """

    def __init__(self, signature: type[dspy.Signature], count: int) -> None:
        super().__init__()
        self.count = count
        self.sample = dspy.ChainOfThought(signature)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Ask all samples at once, each in a branch of the question."""
        recorder = call_context().samples
        branches = [call_context().branch(i, self.count) for i in range(self.count)]
        tasks = [asyncio.ensure_future(self._ask(branch, inputs)) for branch in branches]
        try:
            outcomes = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if recorder is not None:
                recorder.join([branch.samples for branch in branches])
        chosen, answer = self._settle(outcomes)
        if recorder is not None and (kept := branches[chosen].samples) is not None:
            recorder.use(kept.answered_by)
        return answer

    async def _ask(self, branch: CallContext, inputs: Mapping[str, Any]) -> dspy.Prediction | Exception:
        with entered(branch):
            try:
                return await self.sample.acall(**inputs)
            except NO_ANSWER as error:
                return error
            finally:
                if branch.samples is not None:
                    branch.samples.report()

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The same, one sample after the other: for optimizers, which call synchronously."""
        outcomes: list[dspy.Prediction | Exception] = []
        for _ in range(self.count):
            try:
                outcomes.append(self.sample(**inputs))
            except NO_ANSWER as error:
                outcomes.append(error)
        return self._settle(outcomes)[1]

    def _settle(self, outcomes: Sequence[dspy.Prediction | Exception]) -> tuple[int, dspy.Prediction]:
        """The number of the sample nearest to the consensus, and the answer: that sample with the agreed values."""
        answered = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, dspy.Prediction)]
        if not answered:
            raise next(outcome for outcome in outcomes if isinstance(outcome, Exception))
        names = [name for name in self.sample.predict.signature.output_fields if name != "reasoning"]
        answers = [{name: outcomes[i][name] for name in names} for i in answered]  # type: ignore[index]
        agreed = consensus(answers)
        nearest = max(range(len(answers)), key=lambda i: (sum(answers[i][n] == agreed[n] for n in names), -i))
        chosen = answered[nearest]
        return chosen, dspy.Prediction(**{**outcomes[chosen].toDict(), **agreed})  # type: ignore[union-attr]


def consensus(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What answers agree on, field by field: the median of numbers, for lists of numbers by place, else what most say.

    Ties go to the smaller number and to what was said first. Each field is settled among the answers that agree with
    the field before it, so that the fields fit together.

    >>> consensus([{"labor": 30}, {"labor": 55}, {"labor": 40}])
    {'labor': 40}
    >>> consensus([{"stand": True, "rate_changes": (10, 0)}, {"stand": False, "rate_changes": None},
    ...            {"stand": True, "rate_changes": (20, -10)}])
    {'stand': True, 'rate_changes': (10, -10)}
    """
    agreed: dict[str, Any] = {}
    left = list(answers)
    for name in answers[0]:
        agreed[name] = _agreed([answer[name] for answer in left])
        left = [answer for answer in left if answer[name] == agreed[name]] or left
    return agreed


def _agreed(values: list[Any]) -> Any:
    kind = Counter(_kind(value) for value in values).most_common(1)[0][0]
    values = [value for value in values if _kind(value) == kind]
    if kind == "number":
        return median_low(values)
    if kind.startswith("numbers"):
        return tuple(median_low(column) for column in zip(*values, strict=True))
    said = [repr(value) for value in values]
    return values[said.index(Counter(said).most_common(1)[0][0])]


def _kind(value: Any) -> str:
    """How values of this kind are settled."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    if isinstance(value, list | tuple) and value and all(_kind(each) == "number" for each in value):
        return f"numbers {len(value)}"
    return "other"


class _Attempts(dspy.Module):
    """One question asked until the answer is good enough, by a module of DSPy's that does so synchronously.

    `kind`: dspy.BestOfN or dspy.Refine.
    """

    kind: type[dspy.Module]

    def __init__(self, signature: type[dspy.Signature], count: int) -> None:
        super().__init__()
        self.search = self.kind(_Attempt(signature), N=count, reward_fn=worth, threshold=GOOD_ENOUGH)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        search = copy(self.search)  # it counts failures on itself, and would stop when all agents together had enough
        recorder, judged = call_context().samples, list[tuple[dspy.Prediction, int | None]]()

        def judge(inputs: Mapping[str, Any], answer: dspy.Prediction) -> float:
            judged.append((answer, recorder.answered_by if recorder is not None else None))
            return worth(inputs, answer)

        search.reward_fn = judge
        with dspy.context(trace=[] if dspy.settings.trace is None else dspy.settings.trace):
            best: dspy.Prediction = search(**inputs)
        if "failure" in best:
            raise best.failure
        if recorder is not None:
            recorder.use(next(call for answer, call in judged if answer is best))
        return best

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return await in_thread(self, inputs)


class _Attempt(dspy.Module):
    """One answer; a failure is an answer of no worth, so that it is neither printed nor lost."""

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.answer = dspy.Predict(signature)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        try:
            return self.answer(**inputs)
        except NO_ANSWER as error:
            return dspy.Prediction(failure=error)


def worth(inputs: Mapping[str, Any], answer: dspy.Prediction) -> float:
    """An answer's score from 0 to 1 by what the prompt shows; -1 for a failure."""
    return -1.0 if "failure" in answer else reward(inputs, answer)


class GivenUp(BaseException):
    """Raised in a thread whose question was cancelled. No `except Exception` of a strategy may hold it."""


class LoopCalls:
    """What one thread asks of the event loop that waits for it. `give_up` cancels its calls and refuses new ones."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._given_up = False

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """The result of `call`, made on the loop; called from the thread. Raises GivenUp, or what `call` raises."""
        with self._lock:
            if self._given_up:
                call.close()
                raise GivenUp
            future = asyncio.run_coroutine_threadsafe(self._made(call), self.loop)
        try:
            return future.result()
        except CancelledError as error:  # an Exception, unlike asyncio's
            call.close()  # it may not have begun
            raise GivenUp from error

    async def _made(self, call: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.current_task()
        assert task is not None
        if self._given_up:
            raise asyncio.CancelledError
        self._in_flight.add(task)
        try:
            return await call
        finally:
            self._in_flight.discard(task)

    def give_up(self) -> None:
        """Called on the loop. A reply that is there still reaches the thread, which parses it: it will be stored."""
        with self._lock:
            self._given_up = True
        for task in self._in_flight:
            task.cancel()


async def in_thread(module: dspy.Module, inputs: Mapping[str, Any]) -> dspy.Prediction:
    """What a module that can only be called synchronously answers, without holding up the event loop.

    Its calls to a model are made on this loop. Cancelled, it ends its thread before it ends itself: a thread that waits
    for a loop that is gone waits for ever.
    """
    calls = LoopCalls()
    with entered(replace(call_context(), loop=calls)):
        context = copy_context()
    answer = calls.loop.run_in_executor(_threads(), lambda: context.run(module, **inputs))
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        calls.give_up()
        while not answer.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([answer])
        answer.exception()
        raise


async def answer_of(module: dspy.Module, inputs: Mapping[str, Any]) -> dspy.Prediction:
    """What a module answers; one that has only `forward` is called in a thread."""
    if not hasattr(module, "aforward"):
        return await in_thread(module, inputs)
    answer: dspy.Prediction = await module.acall(**inputs)
    return answer


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads of their own: the loop's default ones are few, and DSPy needs them for each call."""
    return ThreadPoolExecutor(max_workers=256, thread_name_prefix="strategy")


def _log_instead(*words: object) -> None:
    log.debug(" ".join(map(str, words)))


class _QuietBestOfN(dspy.BestOfN):
    forward = printing_with(dspy.BestOfN.forward, _log_instead)


class _QuietRefine(dspy.Refine):
    forward = printing_with(dspy.Refine.forward, _log_instead)

    def __init__(self, module: dspy.Module, **how: Any) -> None:
        super().__init__(module, **how)
        tell_refine(self, refine_prompt.PROGRAM, refine_prompt.SCORE)


class BestOfN(_Attempts):
    """Up to `count` answers; the first that is good enough, else the best (`dspy.BestOfN`)."""

    kind = _QuietBestOfN


class Refined(_Attempts):
    """The same, with advice of the model to itself between two answers (`dspy.Refine`)."""

    kind = _QuietRefine
