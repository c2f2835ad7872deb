"""Prompt strategies by name: how a signature is asked. A new one is one entry here.

A user's own strategy is `module:Name` or an entry point in the group `llm_economist.strategies`: anything that takes a
signature and returns a `dspy.Module` whose `acall` takes the signature's inputs and returns a `dspy.Prediction` with
its outputs. It need not call a model at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import dspy

from programs.plugins import STRATEGY, installed, load
from programs.strategies.few_shot import NearestShots
from programs.strategies.reflection import Reflection
from programs.strategies.sampling import BestOfN, Refined, SelfConsistency

Strategy = Callable[[type[dspy.Signature]], dspy.Module]


@dataclass(frozen=True)
class Entry:
    """A strategy and its cost: minimum and maximum model calls per question if every reply is usable.

    `count`: the default number of samples, attempts or examples, if the strategy has one (`sc@9` asks for nine
    samples); the argument of `calls`.
    """

    make: Callable[..., dspy.Module]
    calls: Callable[[int], tuple[int, int]]
    help: str
    count: int | None = None


STRATEGIES: Mapping[str, Entry] = {
    "io": Entry(dspy.Predict, lambda n: (1, 1), "the answer at once"),
    "cot": Entry(dspy.ChainOfThought, lambda n: (1, 1), "reasoning, then the answer (Wei et al. 2022)"),
    "sc": Entry(
        SelfConsistency,
        lambda n: (n, n),
        "self-consistency: N samples of cot at once; their median, or what most say (Wang et al. 2023)",
        count=5,
    ),
    "best_of_n": Entry(
        BestOfN,
        lambda n: (1, n),
        "up to N answers, kept: the first that scores at least 0.995 by what the prompt shows, else the best",
        count=3,
    ),
    "refine": Entry(
        Refined,
        lambda n: (1, 2 * n - 1),
        "the same, and after each answer that falls short advice for the next one",
        count=3,
    ),
    "reflect": Entry(Reflection, lambda n: (3, 3), "a draft, a critique of it from the record, the answer"),
    "knn": Entry(
        NearestShots,
        lambda n: (1, 1),
        "the answer at once, after N examples: the best stored decisions in situations nearest to this one",
        count=4,
    ),
}

SEPARATOR = "@"
MOST = 19
"""The largest count: the number of branches that a question can have (pipeline/agents/call_trace.py)."""


def _own(name: str, make: Strategy) -> Strategy:
    """A user's strategy. ValueError if it does not make a module from a signature."""

    def made(signature: type[dspy.Signature]) -> dspy.Module:
        try:
            module = make(signature)
        except Exception as error:  # a user's code may fail in any way
            raise ValueError(
                f"strategy {name} failed on {signature.__name__}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(module, dspy.Module):
            raise ValueError(f"strategy {name} made a {type(module).__name__} of a signature; expected a dspy.Module")
        return module

    return made


def is_own_strategy(name: str) -> bool:
    """Whether `name` is no built-in strategy, with or without a count, but code of the user's or of a package."""
    return name.partition(SEPARATOR)[0] not in STRATEGIES


def strategy(name: str | Strategy) -> Strategy:
    """The strategy called `name`, or `name@count`, or a given strategy itself. ValueError lists those that exist."""
    if not isinstance(name, str):
        return _own(getattr(name, "__qualname__", repr(name)), name)
    if is_own_strategy(name):
        if ":" not in name and name not in (others := installed(STRATEGY)):
            raise ValueError(
                f"unknown strategy {name!r}: choose one of {', '.join((*STRATEGIES, *others))}, or module:Name"
            )
        return _own(name, load(STRATEGY, name))
    known, separator, count = name.partition(SEPARATOR)
    entry = STRATEGIES[known]
    if not separator:
        return entry.make if entry.count is None else partial(entry.make, count=entry.count)
    if entry.count is None:
        raise ValueError(f"strategy {name!r}: {known} takes no count; write {known}")
    if not count.isdecimal() or not 1 <= int(count) <= MOST:
        raise ValueError(f"strategy {name!r}: expected {known}@N with N from 1 to {MOST}, e.g. {known}@{entry.count}")
    return partial(entry.make, count=int(count))
