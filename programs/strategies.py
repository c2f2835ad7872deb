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


def _own(name: str, make: Strategy) -> Strategy:
    """A user's strategy; ValueError where it makes no module out of a signature."""

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


def strategy(name: str) -> Strategy:
    """The strategy called `name`; ValueError names those that exist."""
    if ":" in name:
        return _own(name, load_object(name, "--strategy "))
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: choose one of {', '.join(STRATEGIES)}, or module:Name")
    return STRATEGIES[name]
