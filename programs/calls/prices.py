"""Model prices: the user's `prices.toml`, then this package's dated table, then DSPy's.

Prices are in dollars per million tokens. A model missing from all tables has no price: the cost of its calls is NULL,
never a guess.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

# DSPy would otherwise fetch a price table from the network before the first call.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from dspy import lm15

from programs.calls.model_names import HUMAN, RULES, is_local
from programs.dspy_versions import model_info, rate
from programs.text_files import each_once, read_toml

OWN_FILE = "prices.toml"
MILLION = 1_000_000
LONGEST = 128_000
"""Tokens of the longest reply of a model that no table lists."""

KEYS = ("input", "cached", "output", "longest")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens; `longest`: maximum tokens of a reply."""

    input: float
    output: float
    cached: float | None = None
    longest: int | None = None

    def of(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0) -> float:
        """Dollars for these tokens. `cached_tokens` are part of the input, reasoning is part of the output."""
        cached = min(cached_tokens, input_tokens)
        cheap = self.input if self.cached is None else self.cached
        return ((input_tokens - cached) * self.input + cached * cheap + output_tokens * self.output) / MILLION


FREE = Price(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Count:
    """Tokens of a call, counted alike for all providers: `input` includes cached tokens, `output` includes
    reasoning."""

    input: int
    output: int
    cached: int = 0


CACHED_APART = ("anthropic",)
"""Providers whose count of input tokens excludes those read from and written to their cache."""

REASONING_APART = ("gemini", "vertex_ai", "xai")
"""Providers whose count of output tokens excludes reasoning."""


def count(model: str, usage: lm15.Usage | None) -> Count | None:
    """The tokens of a call, or None if the provider did not report them."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    provider, cached = model.partition("/")[0], usage.cache_read_tokens or 0
    apart = cached + (usage.cache_write_tokens or 0) if provider in CACHED_APART else 0
    thought = (usage.reasoning_tokens or 0) if provider in REASONING_APART else 0
    return Count(usage.input_tokens + apart, usage.output_tokens + thought, cached)


def bytes_of(request: lm15.Request) -> int:
    """Bytes of all text in a request."""
    schema = request.config.response_format
    said = [str(request.system or ""), *(message.text or "" for message in request.messages)]
    return sum(len(text.encode()) for text in said) + (len(str(schema)) if schema else 0)


@dataclass(frozen=True)
class Prices:
    """Prices by model: a user's `own` first, then the table of this package, then DSPy's."""

    own: Mapping[str, Price] = field(default_factory=dict)

    def of(self, model: str) -> Price | None:
        """The price of `model`, or None if no table lists it. Models in this process are free."""
        if model in (RULES, HUMAN) or is_local(model):
            return FREE
        for name in (model, model.removeprefix("openai/"), f"openai/{model}"):
            if name in self.own:
                return self.own[name]
        return built_in().get(model.removeprefix("openai/")) or _of_dspy(model)

    def cost_usd(self, model: str, usage: lm15.Usage | None) -> float | None:
        """The cost of a call; None if the model or its usage is unknown."""
        price, used = self.of(model), count(model, usage)
        if price is FREE:
            return 0.0
        return None if price is None or used is None else price.of(used.input, used.output, used.cached)


KNOWN = Prices()
"""The prices without those of the user."""


def cost_usd(model: str, usage: lm15.Usage | None) -> float | None:
    """The cost of a call by the tables of this package and of DSPy."""
    return KNOWN.cost_usd(model, usage)


@cache
def built_in() -> Mapping[str, Price]:
    """The table of this package."""
    return parse(table()["models"], OWN_FILE)


@cache
def table() -> Mapping[str, Any]:
    """The file of this package: `date`, `source`, `models`."""
    return tomllib.loads(files("programs").joinpath("calls", "prices.toml").read_text(encoding="utf-8"))


@cache
def _of_dspy(model: str) -> Price | None:
    provider, _, name = model.rpartition("/")
    info = model_info(provider or "openai", name)
    full, output = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    if full is None or output is None:
        return None
    cached, longest = rate(info, "cache_read_input_token_cost"), info.get("max_output_tokens")
    return Price(
        input=full * MILLION,
        output=output * MILLION,
        cached=None if cached is None else cached * MILLION,
        longest=longest if isinstance(longest, int) else None,
    )


def load(path: str | None) -> Prices:
    """The prices of a run, including those in `path`, or else in `prices.toml` in the current folder, if it exists.

    ValueError says in one line what is wrong with the file.
    """
    if path is None and not Path(OWN_FILE).exists():
        return KNOWN
    shown = f"--prices {path}" if path is not None else OWN_FILE
    try:
        read = read_toml(path or OWN_FILE)
    except OSError as error:
        raise ValueError(f"{shown} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{shown} is not TOML: {' '.join(str(error).split())}") from error
    models = read.get("models")
    if not isinstance(models, dict):
        raise ValueError(f'{shown} has no models: give them as [models."NAME"] with input = 0.1 and output = 0.4')
    return Prices(parse(models, shown))


def parse(models: Mapping[str, Any], shown: str) -> dict[str, Price]:
    """Prices by model from a TOML table. ValueError names the file as `shown`, the model and the key."""
    try:
        each_once(models.items(), lambda name: name.removeprefix("openai/"))
    except ValueError as error:
        raise ValueError(f"{shown}: models {error}") from None
    return {name: _parsed(entry, f"{shown}, model {name!r}") for name, entry in models.items()}


def _parsed(entry: Any, where: str) -> Price:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected input and output, in dollars per million tokens")
    for key, value in entry.items():
        if key not in KEYS:
            raise ValueError(f"{where}: unknown key {key!r}; the keys are {', '.join(KEYS)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{where}: {key} = {value!r} is not a number of at least 0")
    for key in ("input", "output"):
        if key not in entry:
            raise ValueError(f"{where}: {key} is missing (dollars per million tokens)")
    longest = entry.get("longest")
    return Price(
        input=float(entry["input"]),
        output=float(entry["output"]),
        cached=float(entry["cached"]) if "cached" in entry else None,
        longest=None if longest is None else int(longest),
    )
