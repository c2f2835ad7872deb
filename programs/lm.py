"""From a name to a `dspy.LM`: OpenAI names, any OpenAI-compatible server, any DSPy model string, `rules`, an engine.

Every attempt at a model is reported to the `lineage` of the current `dspy.context`, if there is one: that is how
calls are traced, failures included, without the engines knowing of a store.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

# DSPy would otherwise fetch a price table from the network before the first call.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy
from dotenv import dotenv_values
from dspy import lm15
from dspy.clients.lm import _is_openai_reasoning_model
from dspy.clients.model_metadata import model_info, rate

from programs.custom import load_object
from programs.engines.http import AsyncRemoteEngine, Endpoint, RemoteEngine
from programs.engines.rules import RulesEngine

OPENAI_KEYS = ("OPENAI_API_KEY", "ECON_OPENAI")
RULES = "rules"
ENGINE_PREFIX = "engine:"
RETRYABLE = (lm15.RateLimitError, lm15.ServerError, lm15.TransportError, lm15.TimeoutError)


class Lineage(Protocol):
    """What an attempt is reported to (pipeline/traces.py).

    `failures` of this question so far set the back-off; `recall` gives the reply that a request got before, if any.
    """

    failures: int

    def sampling_seed(self) -> int: ...

    def recall(self, request: lm15.Request) -> lm15.Response | None: ...

    def attempted(self, attempt: Attempt) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One request to a model and its response or error. Times: seconds since the epoch, and milliseconds."""

    request: lm15.Request
    response: lm15.Response | None
    error: Exception | None
    started_at: float
    latency_ms: float


@dataclass(frozen=True)
class Model:
    """A language model by name, and how to call it. `offline`: it will not be called, and needs no key."""

    name: str
    base_url: str | None = None
    timeout: float = 30.0
    temperature: float = 0.7
    max_tokens: int = 500
    concurrency: int = 64
    retries: int = 4
    offline: bool = False


@cache
def environment() -> Mapping[str, str]:
    """Environment variables over those of `.env` in the current folder. Holds keys: never print or store it.

    Read once a process.
    """
    from_file = {name: value for name, value in dotenv_values(".env").items() if value}
    return {**from_file, **os.environ}


def default_model() -> tuple[str, str]:
    """The model used when none is named, and why."""
    found = next((name for name in OPENAI_KEYS if environment().get(name)), None)
    if found:
        return "gpt-4o-mini", f"{found} is set"
    return RULES, f"no --llm and no {' or '.join(OPENAI_KEYS)}, so no language model is called"


def connect(model: Model) -> dspy.LM:
    """A `dspy.LM` for `model`, without a cache: two agents with the same prompt are two samples.

    Raises ValueError where the name cannot be a model (one line that says what was expected).
    """
    if model.name == RULES:
        return _lm(model, RulesEngine())
    if model.name.startswith(ENGINE_PREFIX):
        return _lm(model, _custom_engine(model.name.removeprefix(ENGINE_PREFIX)))
    endpoint = _endpoint(model)
    # A seed is for OpenAI's protocol only, and its reasoning models refuse one.
    seeded = endpoint.route.startswith(("openai/", "hosted_vllm/")) and not _is_openai_reasoning_model(model.name)
    return _lm(model, RemoteEngine(endpoint, seeded=seeded), AsyncRemoteEngine(endpoint, seeded=seeded))


def _endpoint(model: Model) -> Endpoint:
    known = {"OPENAI_API_KEY": "offline"} if model.offline else environment()
    base_url = model.base_url or (None if "/" in model.name else known.get("OPENAI_BASE_URL"))
    route = f"openai/{model.name.removeprefix('openai/')}" if base_url or "/" not in model.name else model.name
    endpoint = Endpoint(route, base_url, model.timeout, model.concurrency + 8, known)
    if route.startswith("openai/") and endpoint.api_key is None:
        raise ValueError(
            f"{model.name} needs a key: set {' or '.join(OPENAI_KEYS)} (environment or .env), "
            "give --base-url for a server of your own, or use --llm rules"
        )
    return endpoint


def _lm(model: Model, engine: Any, async_engine: Any = None) -> dspy.LM:
    # OpenAI's reasoning models refuse a temperature and count their thinking in the token limit.
    thinking = _is_openai_reasoning_model(model.name)
    return dspy.LM(
        model.name,
        engine=ObservedEngine(engine),
        async_engine=AsyncObservedEngine(async_engine or engine, model.timeout),
        cache=False,
        num_retries=model.retries,
        temperature=None if thinking else model.temperature,
        max_tokens=None if thinking else model.max_tokens,
    )


def _custom_engine(path: str) -> Any:
    """The engine `module:Class`: a class with `complete(Request) -> Response`, made without arguments."""
    kind = load_object(path, "--llm engine:")
    try:
        engine = kind()
    except Exception as error:  # a user's class may fail in any way
        raise ValueError(f"--llm engine:{path} cannot be made without arguments ({error})") from error
    if not callable(getattr(engine, "complete", None)):
        raise ValueError(f"--llm engine:{path} has no complete(request): see docs/extending.md")
    return engine


def _lineage() -> Lineage | None:
    return dspy.settings.get("lineage")  # type: ignore[no-any-return]


class _Observed:
    """Seeds each request from the lineage of the current context, and reports each attempt to it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):  # copying asks before there is an inner engine
            raise AttributeError(name)
        return getattr(self.inner, name)

    def begin(self, request: lm15.Request) -> tuple[lm15.Request, lm15.Response | None]:
        """The request with its own seed, and the reply that it got before: paid once is paid."""
        lineage = _lineage()
        if lineage is None:
            return request, None
        if "seed" in getattr(self.inner, "supported_params", ()):
            request = replace(request, config=replace(request.config, seed=lineage.sampling_seed()))
        return request, lineage.recall(request)

    def report(self, attempt: Attempt) -> None:
        lineage = _lineage()
        if lineage is not None:
            lineage.attempted(attempt)


class ObservedEngine(_Observed):
    """A synchronous engine under observation."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        request, known = self.begin(request)
        if known is not None:
            return known
        started, clock = time.time(), time.perf_counter()
        try:
            response = self.inner.complete(request)
        except Exception as error:
            self.report(Attempt(request, None, error, started, (time.perf_counter() - clock) * 1000))
            _spread_retries(error)
            raise
        self.report(Attempt(request, response, None, started, (time.perf_counter() - clock) * 1000))
        return response


class AsyncObservedEngine(_Observed):
    """The same for the event loop, with a time limit on each attempt. A synchronous `inner` runs in place."""

    def __init__(self, inner: Any, timeout: float) -> None:
        super().__init__(inner)
        self.timeout = timeout

    async def complete(self, request: lm15.Request) -> lm15.Response:
        request, known = self.begin(request)
        if known is not None:
            return known
        started, clock = time.time(), time.perf_counter()
        try:
            response = await self._attempt(request)
        except Exception as error:
            self.report(Attempt(request, None, error, started, (time.perf_counter() - clock) * 1000))
            _spread_retries(error)
            raise
        self.report(Attempt(request, response, None, started, (time.perf_counter() - clock) * 1000))
        return response

    async def _attempt(self, request: lm15.Request) -> lm15.Response:
        if not inspect.iscoroutinefunction(self.inner.complete):
            return self.inner.complete(request)
        try:
            return await asyncio.wait_for(self.inner.complete(request), self.timeout)
        except TimeoutError as error:
            raise lm15.TimeoutError(f"no answer within {self.timeout:g} s (--timeout)") from error


def _spread_retries(error: Exception) -> None:
    """Back-off with jitter unless the server said when: a thousand agents must not retry in lockstep."""
    if isinstance(error, RETRYABLE) and error.retry_after is None:
        lineage = _lineage()
        failures = lineage.failures if lineage is not None else 1
        error.retry_after = min(60.0, 2.0**failures) * random.uniform(0.25, 0.75)


SECRET = re.compile(r"\b(?:(?:sk|pk|key)[-_][\w*.-]{6,}|key (?=\S*\d)[\w*.-]{8,}|Bearer \S{8,})")


def without_secrets(text: str) -> str:
    """`text` on one line, with everything blotted out that is or looks like a key."""
    line = " ".join(text.partition("To fix:")[0].split())  # what follows is advice to programmers
    for name, value in environment().items():
        if len(value) >= 8 and re.search("KEY|TOKEN|SECRET|PASSWORD", name):
            line = line.replace(value, "***")
    return SECRET.sub("***", line)


def cost_usd(model: str, usage: lm15.Usage | None) -> float | None:
    """What a call cost by the price table that DSPy ships; None where the model or its usage is unknown.

    `rules` is free. Cached input tokens are priced as such where the table knows a price for them.
    """
    if model == RULES:
        return 0.0
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    provider, _, name = model.rpartition("/")
    info = model_info(provider or "openai", name)
    full, output = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    if full is None or output is None:
        return None
    cached = usage.cache_read_tokens or 0
    cheap = rate(info, "cache_read_input_token_cost")
    price = (usage.input_tokens - cached) * full + cached * (full if cheap is None else cheap)
    return float(price + usage.output_tokens * output)
