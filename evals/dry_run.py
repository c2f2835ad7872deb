"""`llm-economist run --dry-run`: how many calls, tokens, dollars and hours a run takes, without a model or a file.

The questions of a year without memory and of a year with a full one are put to the `rules` engine with the strategies,
programs and format of the run, in memory: that measures the prompts, however many calls a strategy makes.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.running import BRACKETS, choose_model, configure
from pipeline.config import RunConfig
from pipeline.economy.equilibrium import settle
from pipeline.economy.welfare import WELFARE
from pipeline.election import MOST_CANDIDATES
from pipeline.election import RULES as ELECTION_RULES
from pipeline.errors import UsageError
from pipeline.government import ballot_module, planner_inputs, vote_inputs
from pipeline.minds import Minds
from pipeline.people import write_personas
from pipeline.simulation import play_year
from pipeline.store import Store
from pipeline.traces import Call
from pipeline.world import World, create, needs_persona
from programs import prices
from programs.adapter import REPAIRS
from programs.engines.weights import is_local
from programs.limits import least_seconds
from programs.prices import LONGEST, RULES, Price
from signatures.types import TaxSchedule

SAMPLE = 24
"""Workers whose prompts are measured, at most: more than fit on a ballot."""

FEWEST_PER_CHARACTER, MOST_PER_CHARACTER = 1 / 5, 1 / 3
"""Tokens per character of a prompt, at least and at most."""

SHORTEST_REPLY = 0.4
"""A reply may have this share of the characters that `rules` needs: models leave out markers."""

REPAIR_TOKENS = 400
"""What the failed reply and the error add to the prompt of a repair, at most."""

SHORT_PERSONA = "You are a worker."
LONG_PERSONA = "You are a person of whom there is so much to be told. " * 9
GOVERNING = "SetTaxRates or GovernAsLeader"

Interval = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """What one signature takes: each an interval of low and high over the whole run."""

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
class Size:
    """What one question takes: calls, characters of its prompts and replies, at least and at most."""

    calls: Interval
    prompt: Interval
    reply: Interval


@dataclass(frozen=True)
class Forecast:
    """What a run will take. `repairs`: what comes on top if every reply has to be repaired as often as allowed."""

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
    """Print what a run with these settings will take; 0."""
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
    return 0


def forecast(config: RunConfig, model: str, latency: float, *, personas_known: bool | None = None) -> Forecast:
    """Calls, tokens, cost and time of a run, from its settings alone.

    `personas_known`: whether the database may hold them; by default, if there is one.
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
    """Tokens of the longest reply: the limit that is sent, or the model's own where it refuses one."""
    from dspy.clients.lm import _is_openai_reasoning_model

    if not _is_openai_reasoning_model(model):
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


# -- how often each question is asked ------------------------------------------------------------------------------


def governments(config: RunConfig) -> list[int]:
    """The years in which the schedule may change."""
    if config.planner_type != "LLM":
        return []
    return [y for y in range(0, config.max_timesteps, config.two_timescale) if y >= config.warmup]


def questions(config: RunConfig, *, personas_known: bool) -> dict[str, Interval]:
    """How often each signature is asked in a run, at least and at most."""
    world = create(config)
    years, changes = config.max_timesteps, len(governments(config))
    asked, people = len(world.voters_asked), len(needs_persona(world))
    workers, judges = (asked, asked), (people, people)
    if config.archetypes is not None:
        workers, judges = _archetypes_asked(world)
    chances = changes * asked
    votes = chances if world.scenario.elections and ELECTION_RULES[config.election_rule].form else 0
    governs = changes if not config.binding_platforms else 0 if asked else changes
    return {
        "WritePersona": (0 if personas_known else people, people),
        "StandForOffice": (chances, chances) if config.platforms else (0, 0),
        "CastVote": (0 if config.platforms else votes, votes),
        _governing(world): (governs, changes),
        "ChooseLabor": (years * workers[0], years * workers[1]),
        "JudgeTaxPolicy": (years * judges[0], years * judges[1]) if world.scenario.satisfaction else (0, 0),
    }


def _archetypes_asked(world: World) -> tuple[Interval, Interval]:
    """Questions a year to archetypes, on hours and on the policy: those of the first year, or as many as may be."""
    archetype = world.delegate(0).archetype
    assert archetype is not None
    first = np.unique(archetype)
    own = world.population.utility_type == "egotistical"
    most = (world.config.archetypes or 0) * world.config.archetype_samples
    return (len(first), min(world.num_agents, most)), (int(own[first].sum() > 0), min(int(own.sum()), most))


def _governing(world: World) -> str:
    """Without a leader the planner is asked, also where there are elections."""
    return GOVERNING if world.scenario.elections and world.voters_asked else "SetTaxRates"


def _wall_seconds(
    config: RunConfig, counts: Mapping[str, Interval], sizes: Mapping[str, Size], latency: float, *, preflight: bool
) -> tuple[float, float]:
    """Rounds of `concurrency` calls, one after another; a strategy's calls for one question count one by one."""
    changes = len(governments(config))
    rounds = [int(preflight), int(preflight)]
    for name, interval in counts.items():
        often = config.max_timesteps if name in ("ChooseLabor", "JudgeTaxPolicy") else changes
        often = 1 if name == "WritePersona" else often
        for i, n in enumerate(interval):
            if n and often:
                rounds[i] += often * math.ceil(n / often / config.concurrency) * sizes[name].calls[i]
    return rounds[0] * latency, rounds[1] * latency


# -- how long each question is -------------------------------------------------------------------------------------


class _NoPersonas:
    """A store that holds none."""

    def personas(self, **key: Any) -> dict[Any, str]:
        return {}


def measure(config: RunConfig) -> dict[str, Size]:
    """The size of each question, from a year without memory and from one with a full memory."""
    few = replace(config, num_agents=min(config.num_agents, SAMPLE), base_url=None, prices=None, warmup=0)
    few = replace(few, max_cost_usd=None, max_tokens=None)
    return _sizes([*asyncio.run(_sample(few, full=False)), *asyncio.run(_sample(few, full=True))])


async def _sample(config: RunConfig, *, full: bool) -> list[list[Call]]:
    """Calls by question of one year: without memory, or with as much of it as the run can have."""
    world, calls = create(config), list[Call]()
    minds = Minds(config, RULES, BRACKETS[config.bracket_setting], sink=calls.append)
    await write_personas(world, minds, cast(Store, _NoPersonas()))
    for agent in needs_persona(world):
        world.personas[agent] = LONG_PERSONA[:450] if full else SHORT_PERSONA
    changes = governments(config)
    year = (changes[-1] if changes else config.max_timesteps - 1) if full else 0
    if full:
        fill_memory(world)
    if world.scenario.elections and world.voters_asked:
        await _ask_of_elections(world, minds, year, full=full)
        world.leader = world.voters_asked[-1]
    await play_year(world, minds, year)
    by_question: dict[tuple[str, int, int | None], list[Call]] = defaultdict(list)
    for call in calls:
        by_question[call.signature, call.year, call.agent].append(call)
    return list(by_question.values())


async def _ask_of_elections(world: World, minds: Minds, year: int, *, full: bool) -> None:
    """The questions that depend on who stands: a vote on the shortest or the longest ballot, a planner's change."""
    voter = world.voters_asked[-1]
    on_ballot = world.voters_asked[-MOST_CANDIDATES:] if full else [voter]
    changes = (-20,) * len(world.schedule.rates) if full else (0,) * len(world.schedule.rates)
    platforms = dict.fromkeys(on_ballot, changes)
    if form := ELECTION_RULES[world.config.election_rule].form:
        inputs, module = vote_inputs(world, voter, platforms), ballot_module(minds, form, platforms)
        # An agent number of its own: what is measured is one question.
        await minds.ask("CastVote", inputs, year=year + 1, agent=voter, module=module)
    await minds.ask("SetTaxRates", planner_inputs(world, year), year=year + 1, agent=None)


def fill_memory(world: World) -> None:
    """Years in which every worker tried many hours under one law, and the planner many laws."""
    config = world.config
    wage, years = world.population.wage, min(config.max_timesteps - 1, config.history_len)
    first = max(0, config.max_timesteps - 1 - years)
    for i in range(years):
        hours = np.full(world.num_agents, 99.0 - 3 * (i % 12))
        outcome = settle(world.economy, world.schedule, wage, hours)
        world.adjusted = outcome.utility
        welfare = float(WELFARE[config.welfare](outcome.utility, outcome.income, wage))
        own = world.population.utility_type == "egotistical"
        world.remember_workers(first + i, outcome, np.where(own, outcome.utility, -abs(welfare)))
        world.welfare = welfare
    tried = len(governments(config)) if years else 0
    for i in range(min(tried, 60)):
        # Ever better laws, so that the best and the last are not the same ones.
        law = TaxSchedule(thresholds=world.schedule.thresholds, rates=(100.0 - i % 50,) * len(world.schedule.rates))
        world.planner_memory.remember(
            year=config.max_timesteps - 1 - i, schedule=law, welfare=-abs(world.welfare) - i, settled=True
        )


def _sizes(asked: Iterable[list[Call]]) -> dict[str, Size]:
    """The least and the most of what the questions of each signature took."""
    seen: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for calls in asked:
        row = (len(calls), sum(len(call.prompt) for call in calls), sum(len(call.response or "") for call in calls))
        seen[calls[0].signature].append(row)
        if calls[0].signature in ("SetTaxRates", "GovernAsLeader"):
            seen[GOVERNING].append(row)
    return {
        name: Size(*((min(column), max(column)) for column in zip(*rows, strict=True))) for name, rows in seen.items()
    }


# -- what is printed -----------------------------------------------------------------------------------------------


def table(lines: Mapping[str, Line], price: Price | None) -> Table:
    """What each question takes, and all together."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in ("signature", "calls", "prompt tokens", "reply tokens", "dollars"):
        made.add_column(column, justify="left" if column == "signature" else "right")
    for name, line in {**lines, "total": sum(lines.values(), NOTHING)}.items():
        cost = dollars(line.cost_usd(price))
        made.add_row(name, span(line.calls), span(line.prompt_tokens), span(line.completion_tokens), cost)
    return made


def span(interval: Interval) -> str:
    low, high = interval
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"


def dollars(cost: tuple[float, float] | None) -> str:
    return "?" if cost is None else "0" if cost == (0, 0) else f"{cost[0]:,.4f} - {cost[1]:,.4f}"


def notes(made: Forecast, config: RunConfig) -> Iterable[str]:
    """What a reader has to know beside the figures."""
    yield (
        "Low: prompts without memory, the shortest replies. High: full memories, every reply as long as it may be. "
        "Input that the provider has in its cache costs less."
    )
    yield (
        f"Repairs: a reply that does not parse is asked again 0 to {REPAIRS} times; if all were, at most "
        f"{made.repairs.calls[1]:,} calls, {made.repairs.tokens[1]:,} tokens and "
        f"{dollars(made.repairs.cost_usd(made.price)).rpartition(' - ')[2]} dollars come on top."
    )
    low, high = (duration(seconds) for seconds in made.wall_seconds)
    limits = "".join(f", --{name} {value:,}" for name in ("rpm", "tpm") if (value := getattr(config, name)))
    yield (
        f"Time: {low if low == high else f'{low} to {high}'} at {made.latency:g} s an answer (--latency) and "
        f"{config.concurrency} at once (--concurrency){limits}."
    )
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
            yield f"{flag} {cap:g}: the run {word} stop before its end, and can go on with `llm-economist resume`."


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
