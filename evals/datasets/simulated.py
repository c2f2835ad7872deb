"""Questions with their exact answers for training and evaluation, sampled from simulated economies or taken from stored
traces.

They are split by economy seed: train, dev and test share no population, so that tests use people unseen in training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import dspy
import numpy as np

from evals.datasets import from_traces
from evals.datasets.exact_answers import Asked, answer_of, example, game
from evals.datasets.random_agents import RandomisedAgents
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.government import Platforms, in_order_of
from pipeline.simulation.loop import play_year
from pipeline.simulation.personas import assign_personas
from pipeline.simulation.records import Year
from pipeline.simulation.world import World, create

Sizes = tuple[int, int, int]
SPLITS = ("train", "dev", "test")

STATES = 4
"""Maximum states from one economy: many populations are more informative than many years of one."""

BARREN = 100
"""Consecutive economies without a state after which sampling gives up."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples of one `question` (a signature's name, or "Episode" for whole economies) in three splits.

    `hash`: of all contents, hexadecimal; the same in every process.
    """

    question: str
    train: list[dspy.Example]
    dev: list[dspy.Example]
    test: list[dspy.Example]
    hash: str


def dataset(question: str, splits: Sequence[list[dspy.Example]]) -> Dataset:
    """The three `splits` with their hash."""
    train, dev, test = splits
    content = [question, *([[example.toDict(), sorted(example.inputs())] for example in split] for split in splits)]
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return Dataset(question, train, dev, test, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


def economy_seeds(seed: int) -> Iterator[int]:
    """An endless sequence of distinct economy seeds, above 2**32 to avoid the seeds of runs."""
    rng, given = np.random.default_rng([seed, crc32(b"economies")]), set[int]()
    while True:
        drawn = int(rng.integers(2**32, 2**53))
        if drawn not in given:
            given.add(drawn)
            yield drawn


# -- sampled ----------------------------------------------------------------------------------------------------


def sampled(question: str, config: RunConfig, *, sizes: Sizes, seed: int) -> Dataset:
    """States of small simulated economies under the settings of `config`, a few from each, shuffled.

    The loop is that of a run; workers, planner and candidates are `RandomisedAgents`, so that records, schedules and
    wages vary. Years are drawn uniformly, including the first, which has no record. Tax years are short and runs last
    some tens of years. Only workers who maximize their own utility are used; votes are for platforms.

    UsageError if `question` has no exact answer, or if these settings never ask it.
    """
    answer_of(question)
    check_sizes(sizes)
    seeds = economy_seeds(seed)
    return dataset(question, [_fill(question, config, size, seeds, seed) for size in sizes])


def _fill(question: str, config: RunConfig, size: int, seeds: Iterator[int], seed: int) -> list[dspy.Example]:
    states: list[dspy.Example] = []
    barren = 0
    while len(states) < size:
        found = _states(question, config, next(seeds))
        states += found
        barren = 0 if found else barren + 1
        if barren == BARREN:
            raise UsageError(f"{BARREN} economies with these settings never asked {question}; {size} states are needed")
    order = np.random.default_rng([seed, crc32(b"order")]).permutation(len(states))
    return [states[i] for i in order[:size]]


def _states(question: str, config: RunConfig, seed: int) -> list[dspy.Example]:
    """Up to `STATES` states of one economy."""
    rng = np.random.default_rng([seed, crc32(b"states")])
    small = _small(question, config, seed, rng)
    world, llm_agents = create(small), RandomisedAgents(seed, whim=float(rng.random()), watched=question)
    if question == "WritePersona":
        return run_async(_portrayed(world, llm_agents, rng))
    lasts = 1 if question == "ChooseLabor" else small.two_timescale
    asked_in = range(0, small.max_timesteps, lasts)
    years = sorted(int(year) for year in rng.choice(asked_in, size=min(STATES, len(asked_in)), replace=False))
    return run_async(_played(question, world, llm_agents, years, rng))


def _small(question: str, config: RunConfig, seed: int, rng: np.random.Generator) -> RunConfig:
    """`config` with its own short horizon, changed so that `question` is asked."""
    longest, most = (10, 4) if question == "ChooseLabor" else (4, 16)
    tax_year = int(rng.integers(min(2, config.two_timescale), min(longest, config.two_timescale) + 1))
    return replace(
        game(question, config),
        seed=seed,
        llm="rules",
        worker_type="LLM",
        warmup=0,
        two_timescale=tax_year,
        max_timesteps=min(config.max_timesteps, tax_year * int(rng.integers(2, most + 1))),
    )


async def _played(
    question: str, world: World, llm_agents: RandomisedAgents, years: Sequence[int], rng: np.random.Generator
) -> list[dspy.Example]:
    """Play until the last of `years`, and take one state from each."""
    await assign_personas(world, llm_agents)
    states = []
    for year in range(max(years) + 1):
        before = world.schedule
        llm_agents.seen.clear()
        played = await play_year(world, llm_agents, year)
        eligible = [(agent, inputs) for agent, inputs in llm_agents.seen if _counts(question, world, agent)]
        if year in years and eligible:
            agent, inputs = eligible[int(rng.integers(len(eligible)))]
            law = world.schedule if question == "ChooseLabor" else before
            promised = _promised(played, world, agent) if question == "CastVote" else {}
            asked = Asked(agent, inputs, law, promised)
            states.append(example(question, world, asked, economy_seed=world.config.seed, year=year))
    return states


def _promised(played: Year, world: World, voter: int | None) -> Platforms:
    """The platforms by candidate this year, in the order of the voter's ballot."""
    assert voter is not None
    platforms = {row["candidate"]: tuple(row["rate_changes"]) for row in played.government.platforms}
    return in_order_of(world, voter, played.year, platforms)


def _counts(question: str, world: World, agent: int | None) -> bool:
    """Whether the best answer of this agent is known: for hours, only if it maximizes its own utility."""
    return question != "ChooseLabor" or world.population.utility_type[agent] == "egotistical"


async def _portrayed(world: World, llm_agents: RandomisedAgents, rng: np.random.Generator) -> list[dspy.Example]:
    """Some of the people, with other people's personas from the engine `rules` for comparison."""
    await assign_personas(world, llm_agents)
    drawn = [llm_agents.seen[i] for i in rng.permutation(len(llm_agents.seen))[:STATES]]
    asked = [Asked(agent, inputs, world.schedule) for agent, inputs in drawn]
    return [example("WritePersona", world, one, economy_seed=world.config.seed) for one in asked]


# -- from traces ------------------------------------------------------------------------------------------------


def mined(question: str, db: str, query: str, *, sizes: Sizes, seed: int) -> Dataset:
    """States of the runs in the database `db` that the SELECT `query` names by run_id, year and agent.

    Each has exactly its inputs in the run. Runs that share a seed or a population stay in one split. If the query names
    more than `sizes`, a sample is drawn with `seed`.

    Call it only while this process does not have `db` open for writing. UsageError if the query fails, selects states
    that were never asked, or selects too few; StoreError if the file cannot be read.
    """
    answer_of(question)
    check_sizes(sizes)
    with from_traces.TraceDataset(question, db) as mine:
        places = mine.places(query)
        economy = mine.economies({place.run_id for place in places})
        groups: dict[int, list[from_traces.TraceLocation]] = {}
        for place in places:
            groups.setdefault(economy[place.run_id], []).append(place)
        split = divide(groups, sizes, np.random.default_rng([seed, crc32(b"split")]))
        state = mine.states([place for part in split for place in part], economy)
        return dataset(question, [[state[place] for place in part] for part in split])


def check_sizes(sizes: Sizes) -> None:
    """UsageError unless every split has 0 or more states, and at least one has some."""
    if min(sizes) < 0 or not any(sizes):
        raise UsageError(
            f"sizes {'/'.join(map(str, sizes))}: expected the numbers of states for training, development and test"
        )


def divide(
    groups: Mapping[int, Sequence[from_traces.TraceLocation]], sizes: Sizes, rng: np.random.Generator
) -> list[list[from_traces.TraceLocation]]:
    """The number of places in `sizes` for each split, in random order, with no group in two splits.

    The largest groups are placed first, each in the split that lacks the most. UsageError gives the numbers.
    """
    keys = [sorted(groups)[i] for i in rng.permutation(len(groups))]
    pools: list[list[from_traces.TraceLocation]] = [[], [], []]
    for key in sorted(keys, key=lambda key: -len(groups[key])):
        lacking = [size - len(pool) for size, pool in zip(sizes, pools, strict=True)]
        if max(lacking) > 0:
            pools[int(np.argmax(lacking))] += groups[key]
    if any(len(pool) < size for pool, size in zip(pools, sizes, strict=True)):
        wanted = ", ".join(f"{size} {name}" for name, size in zip(SPLITS, sizes, strict=True))
        given = ", ".join(f"{len(pool)} {name}" for name, pool in zip(SPLITS, pools, strict=True))
        raise UsageError(
            f"the query selects {sum(map(len, groups.values()))} states of {len(groups)} economies, which make {given} "
            f"if no population is in two splits; expected {wanted}: ask for fewer, or add runs with other seeds"
        )
    return [[pool[i] for i in rng.permutation(len(pool))[:size]] for pool, size in zip(pools, sizes, strict=True)]
