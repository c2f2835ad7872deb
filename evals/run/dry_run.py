"""`llm-economist run --dry-run`: estimate a run's calls, tokens, dollars and hours, without a model or a file.

question_counts.py gives the number and length of the questions; this module turns them into tokens, money and time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from evals.cautions.messages import before, tell
from evals.output.console import Console
from evals.output.number_format import between, dollars_between, duration
from evals.output.tables import rich_table
from evals.run.question_counts import Interval, Size, governments, measure, questions
from pipeline.agents.model_choice import choose_model, configure
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.simulation.world import create
from programs.adapters.repairing import REPAIRS
from programs.calls import prices
from programs.calls.model_names import RULES, is_local
from programs.calls.prices import LONGEST, Price
from programs.calls.rate_limits import least_seconds

FEWEST_PER_CHARACTER, MOST_PER_CHARACTER = 1 / 5, 1 / 3
"""Minimum and maximum tokens per character of a prompt."""

SHORTEST_REPLY = 0.4
"""Minimum length of a reply relative to that of `rules`: models leave out markers."""

REPAIR_TOKENS = 400
"""Maximum characters that the failed reply and the error add to the prompt of a repair."""


@dataclass(frozen=True)
class Line:
    """The cost of one signature over the whole run, each figure an interval from low to high."""

    calls: Interval
    prompt_tokens: Interval
    completion_tokens: Interval

    def __add__(self, other: Line) -> Line:
        return Line(
            _sum(self.calls, other.calls),
            _sum(self.prompt_tokens, other.prompt_tokens),
            _sum(self.completion_tokens, other.completion_tokens),
        )

    @property
    def tokens(self) -> Interval:
        return _sum(self.prompt_tokens, self.completion_tokens)

    def cost_usd(self, price: Price | None) -> tuple[float, float] | None:
        """Dollars without a discount for cached input; None without a price."""
        if price is None:
            return None
        low, high = zip(self.prompt_tokens, self.completion_tokens, strict=True)
        return price.of(*low), price.of(*high)

    def as_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


NOTHING = Line((0, 0), (0, 0), (0, 0))


@dataclass(frozen=True)
class Forecast:
    """The estimate of a run. `repairs`: the extra cost if every reply needs as many repairs as allowed."""

    model: str
    lines: Mapping[str, Line]
    repairs: Line
    price: Price | None
    wall_seconds: tuple[float, float]
    latency: float

    @property
    def total(self) -> Line:
        return sum(self.lines.values(), NOTHING)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "signatures": {name: line.as_json() for name, line in self.lines.items()},
            "total": {**self.total.as_json(), "tokens": self.total.tokens, "cost_usd": self.total.cost_usd(self.price)},
            "repairs": {**self.repairs.as_json(), "cost_usd": self.repairs.cost_usd(self.price)},
            "latency_seconds": self.latency,
            "wall_seconds": self.wall_seconds,
        }


def _sum(a: Interval, b: Interval) -> Interval:
    return a[0] + b[0], a[1] + b[1]


def dry_run(settings: Mapping[str, Any], console: Console, *, latency: float, as_json: bool) -> int:
    """Print the estimate for a run with these settings; return 0."""
    config = configure(settings)
    model, why = choose_model(config)
    made = forecast(config, model, latency)
    if as_json:
        print(json.dumps(made.as_json()))
        return 0
    console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)}); nothing is called or written", highlight=False)
    console.print(table(made.lines, made.price))
    for note in notes(made, config):
        console.print(escape(note), highlight=False, soft_wrap=True)
    tell(before(create(config)), console)
    return 0


def forecast(config: RunConfig, model: str, latency: float, *, personas_known: bool | None = None) -> Forecast:
    """Calls, tokens, cost and time of a run, from its settings alone.

    `personas_known`: whether the database may have the personas; by default, if it exists.
    """
    try:
        price = prices.load(config.prices).of(model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    sizes = measure(config)
    longest = _longest_reply(config, model, price)
    stored = Path(config.db).exists() if personas_known is None else personas_known
    asked = {name: n for name, n in questions(config, personas_known=stored).items() if n[1]}
    lines = {name: _line(n, sizes[name], longest) for name, n in asked.items()}
    if model != RULES:
        lines = {"Preflight": Line((1, 1), (4, 40), (1, longest)), **lines}
    at_once = replace(config, concurrency=1) if is_local(model) else config
    wall = _wall_seconds(at_once, asked, sizes, latency, preflight=model != RULES)
    if model != RULES and not is_local(model):
        total = sum(lines.values(), NOTHING)
        least = map(partial(least_seconds, rpm=config.rpm, tpm=config.tpm), total.calls, total.tokens)
        wall = max(wall[0], next(least)), max(wall[1], next(least))
    return Forecast(model, lines, _repairs(lines.values(), longest), price, wall, latency)


def _longest_reply(config: RunConfig, model: str, price: Price | None) -> int:
    """Tokens of the longest reply: the limit that is sent, or the model's own if it refuses a limit."""
    from programs.dspy_versions import is_reasoning_model

    if not is_reasoning_model(model):
        return config.max_output_tokens
    return (price.longest if price else None) or LONGEST


def _line(n: Interval, size: Size, longest: int) -> Line:
    calls = (n[0] * size.calls[0], n[1] * size.calls[1])
    prompt = int(n[0] * size.prompt[0] * FEWEST_PER_CHARACTER), math.ceil(n[1] * size.prompt[1] * MOST_PER_CHARACTER)
    reply = int(n[0] * size.reply[0] * SHORTEST_REPLY * FEWEST_PER_CHARACTER), calls[1] * longest
    return Line(calls, prompt, reply)


def _repairs(lines: Iterable[Line], longest: int) -> Line:
    """Every reply repaired as often as allowed."""
    total = sum(lines, NOTHING)
    calls = REPAIRS * total.calls[1]
    prompt = REPAIRS * (total.prompt_tokens[1] + REPAIR_TOKENS * total.calls[1])
    return Line((0, calls), (0, prompt), (0, calls * longest))


def _wall_seconds(
    config: RunConfig, counts: Mapping[str, Interval], sizes: Mapping[str, Size], latency: float, *, preflight: bool
) -> tuple[float, float]:
    """Sequential rounds of `concurrency` calls; a strategy's calls for one question count separately."""
    changes = len(governments(config))
    rounds = [int(preflight), int(preflight)]
    for name, interval in counts.items():
        often = config.max_timesteps if name in ("ChooseLabor", "JudgeTaxPolicy") else changes
        often = 1 if name == "WritePersona" else often
        for i, n in enumerate(interval):
            if n and often:
                rounds[i] += often * math.ceil(n / often / config.concurrency) * sizes[name].calls[i]
    return rounds[0] * latency, rounds[1] * latency


# -- what is printed -----------------------------------------------------------------------------------------------


def table(lines: Mapping[str, Line], price: Price | None) -> Table:
    """The cost of each question, and the total."""
    rows = []
    for name, line in {**lines, "total": sum(lines.values(), NOTHING)}.items():
        counts = map(between, (line.calls, line.prompt_tokens, line.completion_tokens))
        rows.append([name, *counts, dollars_between(line.cost_usd(price))])
    return rich_table(["signature", "calls", "prompt tokens", "reply tokens", "dollars"], rows)


def notes(made: Forecast, config: RunConfig) -> Iterable[str]:
    """Notes on the figures for the reader."""
    yield (
        "Low: prompts without memory, the shortest replies. High: full memories, every reply as long as it may be. "
        "Input that the provider has in its cache costs less."
    )
    yield (
        f"Repairs: a reply that does not parse is asked again 0 to {REPAIRS} times; if all were, at most "
        f"{made.repairs.calls[1]:,} calls, {made.repairs.tokens[1]:,} tokens and "
        f"{dollars_between(made.repairs.cost_usd(made.price)).rpartition(' - ')[2]} dollars come on top."
    )
    low, high = (duration(seconds) for seconds in made.wall_seconds)
    limits = "".join(f", --{name} {value:,}" for name in ("rpm", "tpm") if (value := getattr(config, name)))
    yield (
        f"Time: {low if low == high else f'{low} to {high}'} at {made.latency:g} s an answer (--latency) and "
        f"{config.concurrency} at once (--concurrency){limits}."
    )
    if config.role_llm:
        yield f"All questions are counted and priced as if {made.model} answered them, whatever --role-llm says."
    if made.price is None:
        yield f"No price is known for {made.model}: give one in prices.toml or with --prices FILE."
    yield from _caps(made, config)


def _caps(made: Forecast, config: RunConfig) -> Iterable[str]:
    cost = made.total.cost_usd(made.price)
    checks = (
        ("--max-tokens", config.max_tokens, made.total.tokens),
        ("--max-cost-usd", config.max_cost_usd, cost),
    )
    for flag, cap, interval in checks:
        if cap is not None and interval is not None and interval[1] > cap:
            word = "will" if interval[0] > cap else "may"
            yield f"{flag} {cap:g}: the run {word} stop before its end; continue it with `llm-economist resume`."
