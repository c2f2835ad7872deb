"""Wrap a user's `dspy.LM` object, so that it is recorded and charged like a model that is given by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import dspy
from dspy import lm15
from dspy.utils.exceptions import LMError

from programs.calls.observed_engine import AsyncObservedEngine, ObservedEngine

RETRIES = 4
"""Attempts after the first, as for models that are given by name."""

GIVEN: ContextVar[Mapping[str, dspy.BaseLM]] = ContextVar("GIVEN", default=MappingProxyType({}))
"""Model objects by the name under which they are stored."""


@contextmanager
def giving(models: Mapping[str, dspy.BaseLM]) -> Iterator[None]:
    """Use these objects wherever a model of their name is connected."""
    before = GIVEN.set({**GIVEN.get(), **models})
    try:
        yield
    finally:
        GIVEN.reset(before)


@contextmanager
def as_engines_fail() -> Iterator[None]:
    """Raise the engine's error instead of DSPy's, because it determines a call's status."""
    try:
        yield
    except LMError as error:
        if isinstance(error.__cause__, lm15.LM15Error):
            raise error.__cause__ from None
        raise


class GivenEngine:
    """Sends requests through a `dspy.LM`, with its own connection, key and settings, but without its cache, because two
    agents with the same prompt are two samples. It makes no retries of its own, because every attempt is recorded."""

    supported_params: frozenset[str] = frozenset()

    def __init__(self, lm: dspy.BaseLM) -> None:
        self.lm = lm.copy(cache=False, num_retries=0)
        self.supports_response_schema = bool(getattr(lm, "supports_response_schema", False))

    def complete(self, request: lm15.Request) -> lm15.Response:
        with as_engines_fail():
            response: lm15.Response = self.lm(request)
            return response


class AsyncGivenEngine(GivenEngine):
    """The same for an event loop."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        with as_engines_fail():
            response: lm15.Response = await self.lm.acall(request)
            return response


def recorded(lm: dspy.BaseLM, *, timeout: float) -> dspy.LM:
    """`lm` with every attempt recorded, or `lm` itself if it already is. `timeout`: seconds per attempt."""
    if isinstance(getattr(lm, "engine", None), ObservedEngine):
        return lm
    asynchronous = AsyncObservedEngine(AsyncGivenEngine(lm), timeout=timeout)
    known: dict[str, Any] = {name: lm.kwargs[name] for name in ("temperature", "max_tokens") if name in lm.kwargs}
    return dspy.LM(
        lm.model,
        engine=ObservedEngine(GivenEngine(lm), asynchronous=asynchronous),
        async_engine=asynchronous,
        cache=False,
        num_retries=RETRIES,
        **known,
    )
