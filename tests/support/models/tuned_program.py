"""A small tuned program of a role."""

from typing import Any

import dspy

from pipeline.agents.roles import PROGRAMS
from programs.strategies.registry import strategy

TUNED = "Think of your family, then choose your hours — “honestly”."


DEMO = {"identity": "You are a worker.", "record": "no years yet", "labor": 35}  # in the order of the fields


DEMOS: dict[str, dict[str, Any]] = {
    "worker": DEMO,
    "planner": {"record": "none yet", "rate_changes": (10, 0, -10)},
    "voter": {"record": "none yet", "stand": True, "rate_changes": None},
    "persona": {"occupation": "Lawyers", "age": 51, "persona": "You are a lawyer of 51 years who saves carefully."},
}


def program_of(role: str = "worker", strategy_name: str = "io", brackets: int = 3) -> dspy.Module:
    return PROGRAMS[role](strategy(strategy_name), brackets)


def tuned(role: str = "worker", strategy_name: str = "io") -> dspy.Module:
    """A program with another instruction and a demonstration in its first predictor."""
    program = program_of(role, strategy_name)
    predictor = program.predictors()[0]
    predictor.signature = predictor.signature.with_instructions(TUNED)
    predictor.demos = [dspy.Example(DEMOS[role])]
    return program
