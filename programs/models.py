"""Create a `dspy.LM` from a name: OpenAI-compatible servers, DSPy model strings, local models, `rules`.

Every attempt at a model is reported to the recorder of the current context (programs/calls/context.py), if there is
one. So calls are traced, failures included, while engines need no access to a store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# DSPy would otherwise fetch a price table from the network before the first call.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy
from dspy import lm15

from programs.calls.model_names import HUMAN, RULES, is_local
from programs.calls.observed_engine import AsyncObservedEngine, ObservedEngine
from programs.calls.prices import cost_usd
from programs.calls.rate_limits import RateLimiter, limiter_of
from programs.dspy_versions import is_reasoning_model
from programs.endpoints import endpoints, model_at, server_without_model
from programs.engines.http import AsyncRemoteEngine, RemoteEngine
from programs.engines.human import HumanEngine
from programs.engines.local import AsyncLocalEngine, LocalEngine, require_extra
from programs.engines.local_weights import weights
from programs.engines.rules.engine import RulesEngine
from programs.environment import environment
from programs.given_models import GIVEN, recorded
from programs.plugins import load_object
from programs.providers import OPENAI
from programs.secrets import blotted, without_secrets
from programs.trust import ENGINE_PREFIX, Given, is_given
from programs.urls import shown

__all__ = ["blotted", "cost_usd", "environment", "without_secrets"]  # importable under their former names

OPENAI_KEYS = OPENAI.keys
USUAL = "gpt-4o-mini"
"""The default model if there is a key, or if the server has it."""
NOT_SENT: lm15.Response | BaseException = RuntimeError("given up before it was sent")


@dataclass(frozen=True)
class Model:
    """A language model by name, and how to call it. `offline`: it will not be called, and needs no key.

    `omit`: parts of a request that are never sent (programs/calls/optional_parts.py). `given`: programs/trust.py.
    `base_url`: one server or several, separated by commas. `rpm`, `tpm`: requests and tokens a minute over all of them.
    """

    name: str
    base_url: str | None = None
    timeout: float = 30.0
    temperature: float = 0.7
    max_tokens: int = 500
    concurrency: int = 64
    retries: int = 4
    rpm: int | None = None
    tpm: int | None = None
    offline: bool = False
    omit: tuple[str, ...] = ()
    given: Given = None


def default_model(base_url: str | None = None, given: Given = None) -> tuple[str, str]:
    """The model used when none is named, and why: the only model of the configured server, if there is one.

    ValueError in one line if that server has several models, or none.
    """
    server = server_without_model(base_url)
    if server is not None:
        return model_at(*server, USUAL, given), f"a model of {shown(server[0])}, which {server[1]} names"
    found = next((name for name in OPENAI_KEYS if environment().get(name)), None)
    if found:
        return USUAL, f"{found} is set"
    return RULES, f"no --llm and no {' or '.join(OPENAI_KEYS)}, so no language model is called"


def connect(model: Model) -> dspy.LM:
    """A `dspy.LM` for `model`, without a cache, because two agents with the same prompt are two samples: the user's own
    object if `giving` has one of this name.

    Raises ValueError, in one line that says what was expected, if the name cannot be a model.
    """
    if model.name in (given := GIVEN.get()):
        return recorded(given[model.name], timeout=model.timeout)
    if model.name == RULES:
        return _lm(model, RulesEngine())
    if model.name == HUMAN:
        return _lm(model, Silent() if model.offline else HumanEngine())
    if model.name.startswith(ENGINE_PREFIX):
        if model.offline and not (model.given and is_given(model.name, model.given)):
            return _lm(model, Silent())
        engine = _custom_engine(model.name.removeprefix(ENGINE_PREFIX))
        return _lm(model, engine, limiter=_limiter(model, ()) if model.rpm or model.tpm else None)
    if is_local(model.name) and model.base_url is None:
        return _local(model)
    found = endpoints(
        model.name,
        model.base_url,
        timeout=model.timeout,
        connections=model.concurrency + 8,
        offline=model.offline,
        given=model.given,
    )
    # Only OpenAI's protocol has a seed, and its reasoning models refuse one.
    seeded = found[0].route.startswith(("openai/", "hosted_vllm/")) and not is_reasoning_model(model.name)
    engines = [RemoteEngine(endpoint, seeded=seeded, omit=model.omit) for endpoint in found]
    async_engines = [AsyncRemoteEngine(endpoint, seeded=seeded, omit=model.omit) for endpoint in found]
    limiter = None if model.offline else _limiter(model, tuple(endpoint.base_url or "" for endpoint in found))
    return _lm(model, *engines, async_engines=async_engines, limiter=limiter)


def _limiter(model: Model, urls: tuple[str, ...]) -> RateLimiter:
    """The rate limiter of all calls of `model` to these servers. Without a URL, they are the provider's, or the
    engine's own."""
    names = tuple(map(shown, urls)) or (model.name,)
    return limiter_of(model.name, urls, names=names, concurrency=model.concurrency, rpm=model.rpm, tpm=model.tpm)


def _local(model: Model) -> dspy.LM:
    """A model in this process. If it will not be called, it needs neither the extra nor the file."""
    if model.offline:
        file = Path(model.name)
    else:
        require_extra(model.name)
        file = weights(model.name)
    return _lm(model, LocalEngine(file), async_engines=[AsyncLocalEngine(file)])


def _lm(model: Model, *engines: Any, async_engines: Sequence[Any] = (), limiter: RateLimiter | None = None) -> dspy.LM:
    # OpenAI's reasoning models refuse a temperature and count their thinking in the token limit.
    thinking = is_reasoning_model(model.name)
    asynchronous = AsyncObservedEngine(*(async_engines or engines), timeout=model.timeout, limiter=limiter)
    return dspy.LM(
        model.name,
        engine=ObservedEngine(*engines, asynchronous=asynchronous, limiter=limiter),
        async_engine=asynchronous,
        cache=False,
        num_retries=model.retries,
        temperature=None if thinking else model.temperature,
        max_tokens=None if thinking else model.max_tokens,
    )


def is_remote(lm: dspy.LM) -> bool:
    """Whether a server runs the model, and not this process."""
    return isinstance(lm.engine.inner, RemoteEngine)


def place_of(lm: Any) -> str | None:
    """The address of a model's server, if it is not the provider's own."""
    endpoint = getattr(getattr(lm, "engine", None), "endpoint", None)
    return endpoint.base_url if endpoint is not None else None


class Silent:
    """A placeholder for a user's engine that will not be called, so that nothing is imported."""

    supports_response_schema = True
    supported_params = frozenset({"seed", "response_format"})

    def complete(self, request: lm15.Request) -> lm15.Response:
        raise lm15.ConfigurationError("nothing is asked offline")


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
