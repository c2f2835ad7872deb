"""From a name to a `dspy.LM`: OpenAI names, any OpenAI-compatible server, any DSPy model string, local, `rules`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# DSPy would otherwise fetch a price table from the network before the first call.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy
from dotenv import dotenv_values
from dspy.clients.lm import _is_openai_reasoning_model

from programs.custom import load_object
from programs.engines.http import AsyncRemoteEngine, Endpoint, RemoteEngine
from programs.engines.local import AsyncLocalEngine, LocalEngine, require_extra
from programs.engines.rules import RulesEngine
from programs.engines.weights import is_local, weights
from programs.limits import Gate, gate_of
from programs.observed import AsyncObservedEngine, ObservedEngine
from programs.prices import RULES, cost_usd
from programs.urls import each_url, names_user, shown

__all__ = ["RULES", "cost_usd"]  # where they used to be

OPENAI_KEYS = ("OPENAI_API_KEY", "ECON_OPENAI")
ENGINE_PREFIX = "engine:"


@dataclass(frozen=True)
class Model:
    """A language model by name, and how to call it. `offline`: it will not be called, and needs no key.

    `omit`: parts of a request that are never sent (programs/optional.py).
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


@cache
def environment() -> Mapping[str, str]:
    """Environment variables over those of `.env` in the current folder. Holds keys: never print or store it.

    Read once a process.
    """
    return {**_env_file(), **os.environ}


def _env_file() -> dict[str, str]:
    return {name: value for name, value in dotenv_values(".env").items() if value}


@cache
def _values_of(path: str) -> frozenset[str]:
    """Values of the `.env` of this folder, read once a process and folder."""
    return frozenset(_env_file().values())


def _from_env_file() -> frozenset[str]:
    return _values_of(os.getcwd())


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
        engine = _custom_engine(model.name.removeprefix(ENGINE_PREFIX))
        return _lm(model, engine, gate=_gate(model, ()) if model.rpm or model.tpm else None)
    if is_local(model.name) and model.base_url is None:
        return _local(model)
    endpoints = _endpoints(model)
    # A seed is for OpenAI's protocol only, and its reasoning models refuse one.
    seeded = endpoints[0].route.startswith(("openai/", "hosted_vllm/")) and not _is_openai_reasoning_model(model.name)
    engines = [RemoteEngine(endpoint, seeded=seeded, omit=model.omit) for endpoint in endpoints]
    async_engines = [AsyncRemoteEngine(endpoint, seeded=seeded, omit=model.omit) for endpoint in endpoints]
    gate = None if model.offline else _gate(model, tuple(endpoint.base_url or "" for endpoint in endpoints))
    return _lm(model, *engines, async_engines=async_engines, gate=gate)


def _gate(model: Model, urls: tuple[str, ...]) -> Gate:
    """What all calls of `model` to these servers pass. Without a URL it is the provider's, or the engine's own."""
    names = tuple(map(shown, urls)) or (model.name,)
    return gate_of(model.name, urls, names=names, concurrency=model.concurrency, rpm=model.rpm, tpm=model.tpm)


def _local(model: Model) -> dspy.LM:
    """A model in this process. One that will not be called needs neither the extra nor the file."""
    if model.offline:
        file = Path(model.name)
    else:
        require_extra(model.name)
        file = weights(model.name)
    return _lm(model, LocalEngine(file), async_engines=[AsyncLocalEngine(file)])


def _endpoints(model: Model) -> list[Endpoint]:
    """The servers of `model`: those named, or the provider's."""
    known = {"OPENAI_API_KEY": "offline"} if model.offline else environment()
    urls = each_url(model.base_url or (None if "/" in model.name else known.get("OPENAI_BASE_URL")))
    return [_endpoint(model, url, known) for url in urls or (None,)]


def _endpoint(model: Model, base_url: str | None, known: Mapping[str, str]) -> Endpoint:
    hide_url(base_url or "")
    if names_user(base_url or ""):
        raise ValueError(
            f"{shown(base_url or '')} has a user or a password before its host, which is not sent; "
            "put a key into OPENAI_API_KEY, or let a proxy of yours add the password"
        )
    route = f"openai/{model.name.removeprefix('openai/')}" if base_url or "/" not in model.name else model.name
    endpoint = Endpoint(route, base_url, model.timeout, model.concurrency + 8, known)
    if route.startswith("openai/") and endpoint.api_key is None:
        raise ValueError(
            f"{model.name} needs a key: set {' or '.join(OPENAI_KEYS)} (environment or .env), "
            "give --base-url for a server of your own, or use --llm rules"
        )
    return endpoint


def _lm(model: Model, *engines: Any, async_engines: Sequence[Any] = (), gate: Gate | None = None) -> dspy.LM:
    # OpenAI's reasoning models refuse a temperature and count their thinking in the token limit.
    thinking = _is_openai_reasoning_model(model.name)
    asynchronous = AsyncObservedEngine(*(async_engines or engines), timeout=model.timeout, gate=gate)
    return dspy.LM(
        model.name,
        engine=ObservedEngine(*engines, asynchronous=asynchronous, gate=gate),
        async_engine=asynchronous,
        cache=False,
        num_retries=model.retries,
        temperature=None if thinking else model.temperature,
        max_tokens=None if thinking else model.max_tokens,
    )


def is_remote(lm: dspy.LM) -> bool:
    """Whether a server answers for a model, and not this process."""
    return isinstance(lm.engine.inner, RemoteEngine)


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


SECRET = re.compile(r"\b(?:(?:sk|pk|key)[-_][\w*.-]{6,}|key (?=\S*\d)[\w*.-]{8,}|Bearer \S{8,})")


URL_SECRET = re.compile(r"(?<=//)[^/\s@]+(?=@)|\b[^\s/:@]+:[^\s/@]+(?=@)|(?<=[?&])\w+=[^\s&'\"]+")
"""A name and password before a host, and what a URL asks for after its `?`."""

_url_secrets: set[str] = set()


def without_secrets(text: str) -> str:
    """`text` on one line, with everything blotted out that is or looks like a key."""
    return blotted(" ".join(text.partition("To fix:")[0].split()))  # what follows is advice to programmers


def blotted(text: str) -> str:
    """`text` with keys, values of `.env`, and what URLs hide replaced by `***`; its lines are kept."""
    for value in sorted({*_secrets(), *_url_secrets}, key=len, reverse=True):
        text = text.replace(value, "***")
    return URL_SECRET.sub("***", SECRET.sub("***", text))


def _secrets() -> set[str]:
    """Values of the environment that are or may be keys, and all of `.env` that could be one."""
    named = {
        value
        for name, value in environment().items()
        if name in OPENAI_KEYS or re.search("KEY|TOKEN|SECRET|PASSWORD", name)
    }
    return {value for value in {*named, *_from_env_file()} if len(value) >= 8}


def hide_url(url: str) -> None:
    """From now on blot out the password and the query of `url`, in the form sent and the one meant."""
    parts = urlsplit(url)
    hidden = {parts.password or "", parts.query, *(value for _, value in parse_qsl(parts.query))}
    hidden |= {unquote(text) for text in hidden}
    _url_secrets.update(text for text in hidden if len(text) >= 4)
