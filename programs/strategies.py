"""Prompt strategies by name: how a signature is asked. A new one is one entry here."""

from collections.abc import Callable, Mapping

import dspy

Strategy = Callable[[type[dspy.Signature]], dspy.Module]

STRATEGIES: Mapping[str, Strategy] = {
    "io": dspy.Predict,
    "cot": dspy.ChainOfThought,
}


def strategy(name: str) -> Strategy:
    """The strategy called `name`; ValueError names those that exist."""
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: choose one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
