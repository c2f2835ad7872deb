"""Combine identical concurrent prompts into one request for several samples (OpenAI's `n`).

The prompt is then computed and paid for once. Each caller keeps its own request and seed, and gets its own response, so
replay, resume and repair are unaffected. Servers that support `n` increase the seed by one from choice to choice (vLLM;
evals/testing/openai_server.py), and so do the seeds of identical prompts: choice i is the reply that caller i would
have got alone, so it does not matter which callers were combined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from dspy import lm15

from programs.calls.protocols import SharedPrompt

WINDOW = 0.02
"""Seconds without another request after which a group is sent, even if it is incomplete."""

COUNT = "n"
"""The field of a request, and of lm15's extensions, with the number of samples."""

Begin = Callable[[], None]
Several = Callable[[lm15.Request, Begin], Awaitable[Sequence[lm15.Response]]]
"""(a request for several samples, a callback for when it is sent) -> the samples received, at most that many."""


def samples(request: lm15.Request) -> int:
    """The number of replies that `request` asks for."""
    return int((request.config.extensions or {}).get(COUNT, 1))


def times(request: lm15.Request, count: int) -> lm15.Request:
    """`request` for this number of samples."""
    return replace(request, config=replace(request.config, extensions={COUNT: count}))


@dataclass(eq=False)
class Sample:
    """The request of one caller; `begin` is called when it is sent. If `answer` is None, the caller asks alone.

    `choice`: its position among the samples of the request.
    """

    request: lm15.Request
    begin: Begin
    answer: asyncio.Future[lm15.Response | None]
    choice: int | None = None


@dataclass(eq=False)
class SampleBatcher:
    """Gathers callers with the same prompt, and calls `several` for them."""

    several: Several
    _waiting: dict[Hashable, list[Sample]] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, sample: Sample, alike: SharedPrompt) -> lm15.Response | None:
        """The response to a sample; None if the caller must ask for it alone.

        Waits until the group is complete, or no caller has joined for `WINDOW`. Raises the error of the request.
        """
        loop = asyncio.get_running_loop()
        key = (loop, alike.group)
        waiting = self._waiting.setdefault(key, [])
        waiting.append(sample)
        if len(waiting) == alike.count:
            self._send(key, waiting)
        else:
            loop.call_later(WINDOW, self._send_if_all, len(waiting), key, waiting)
        return await sample.answer

    def _send_if_all(self, count: int, key: Hashable, waiting: list[Sample]) -> None:
        """Send, unless the group was sent already, or has grown beyond `count`: then the newest caller's timer
        counts."""
        if self._waiting.get(key) is waiting and len(waiting) == count:
            self._send(key, waiting)

    def _send(self, key: Hashable, waiting: list[Sample]) -> None:
        del self._waiting[key]
        for run in runs([sample for sample in waiting if not sample.answer.done()]):
            if len(run) == 1:
                run[0].answer.set_result(None)
            else:
                self._start(run)

    def _start(self, run: list[Sample]) -> None:
        """Ask for `run`, in a task that ends when the last of its callers stops waiting."""
        task = asyncio.get_running_loop().create_task(self._ask(run))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

        def left(answer: asyncio.Future[lm15.Response | None]) -> None:
            if all(sample.answer.cancelled() for sample in run):
                task.cancel()

        for sample in run:
            sample.answer.add_done_callback(left)

    async def _ask(self, run: list[Sample]) -> None:
        def begin() -> None:
            for number, sample in enumerate(run):
                sample.choice = number
                sample.begin()

        responses: Sequence[lm15.Response] = ()
        try:
            responses = await self.several(times(run[0].request, len(run)), begin)
        except Exception as error:  # every caller gets the same error
            _fail(run, error)
        for number, sample in enumerate(run):
            sample.choice = number if sample.answer.done() or number < len(responses) else None
            if not sample.answer.done():
                sample.answer.set_result(responses[number] if number < len(responses) else None)


def _fail(run: list[Sample], error: Exception) -> None:
    for sample in run:
        if not sample.answer.done():
            sample.answer.set_exception(error)


def runs(waiting: list[Sample]) -> Iterator[list[Sample]]:
    """The callers whose requests differ only in the seed, as long as seeds are consecutive or absent."""
    ordered = sorted(waiting, key=lambda sample: sample.request.config.seed or 0)
    breaks = [at for at, (one, next_) in enumerate(pairwise(ordered), 1) if not _follows(one.request, next_.request)]
    for first, last in pairwise([0, *breaks, len(ordered)]):
        if first < last:
            yield ordered[first:last]


def _follows(one: lm15.Request, other: lm15.Request) -> bool:
    seed = one.config.seed
    wanted = None if seed is None else seed + 1
    return bool(other == replace(one, config=replace(one.config, seed=wanted)))


def split(total: lm15.Usage, texts: Sequence[str]) -> list[lm15.Usage]:
    """Divide the usage that a server reports among its samples; the first one gets the whole prompt.

    Reply tokens are divided in proportion to the length of the `texts`, and add up to the total.
    """
    rest = lm15.Usage(
        input_tokens=None if total.input_tokens is None else 0,
        cache_read_tokens=None if total.cache_read_tokens is None else 0,
    )
    written, thought = _shares(total.output_tokens, texts), _shares(total.reasoning_tokens, texts)
    return [
        replace(rest if number else total, output_tokens=output, reasoning_tokens=reasoning, total_tokens=None)
        for number, (output, reasoning) in enumerate(zip(written, thought, strict=True))
    ]


def _shares(total: int | None, texts: Sequence[str]) -> list[int | None]:
    if total is None or not texts:
        return [None] * len(texts)
    weights = [len(text) + 1 for text in texts]
    ends = [total * sum(weights[:end]) // sum(weights) for end in range(len(texts) + 1)]
    return [end - start for start, end in pairwise(ends)]
