"""Prompt strategies by name: how a signature is asked. A new one is one entry here.

A user's own strategy is `module:Name`: anything that takes a signature and returns a `dspy.Module` whose `acall`
takes the signature's inputs and returns a `dspy.Prediction` with its outputs. It need not call a model at all.
"""

from collections.abc import Callable, Mapping

import dspy

from programs.custom import load_object

Strategy = Callable[[type[dspy.Signature]], dspy.Module]

STRATEGIES: Mapping[str, Strategy] = {
    "io": dspy.Predict,
    "cot": dspy.ChainOfThought,
}


def strategy(name: str) -> Strategy:
    """The strategy called `name`; ValueError names those that exist."""
    if ":" in name:
        own: Strategy = load_object(name, "--strategy ")
        return own
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: choose one of {', '.join(STRATEGIES)}, or module:Name")
    return STRATEGIES[name]
