"""Read the state files that DSPy's own `Module.save("x.json")` writes, and find where they fit in a role's program.

Only instructions, demonstrations and field names are taken, all of them data. Model settings in a file are ignored,
and DSPy's `load` is never called: it takes fields by position and checks neither names nor demonstrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dspy

from programs.strategies.registry import STRATEGIES, strategy

DSPY = "DSPy state"
"""The format of such a file, in place of ours."""

BARE = "self"
"""DSPy's name of the one predictor of a `dspy.Predict`, whose state has no name in its file."""

Saved = Mapping[str, Mapping[str, Any]]
"""By predictor: its `instruction`, its `demos`, and the `fields` of its question, as prompts name them."""


def predictors_in(record: Any) -> dict[str, dict[str, Any]] | None:
    """The predictors in a state file; None if `record` is not one."""
    if not isinstance(record, dict):
        return None
    states = {name: state for name, state in record.items() if name != "metadata"}
    if "signature" in states:
        states = {BARE: states}
    found = {name: _predictor(state) for name, state in states.items()}
    return {name: one for name, one in found.items() if one is not None} if found and all(found.values()) else None


def _predictor(state: Any) -> dict[str, Any] | None:
    signature = state.get("signature") if isinstance(state, dict) else None
    if not isinstance(signature, dict) or not isinstance(fields := signature.get("fields"), list):
        return None
    if not all(isinstance(field, dict) and isinstance(field.get("prefix"), str) for field in fields):
        return None
    return {
        "instruction": signature.get("instructions"),
        "demos": state.get("demos"),
        "fields": [field["prefix"].removesuffix(":") for field in fields],
    }


def place_in(saved: Saved, program: dspy.Module, role: str) -> dict[str, dspy.Predict] | None:
    """The predictor of `program` for each one that is saved of it; None if they fit nowhere.

    A file may hold the whole program, one of its questions (`dspy.ChainOfThought(ChooseLabor)`), or a whole game
    (`Stackelberg`), of which the part of `role` counts.
    """
    for start, place in (("", program), (f"{role}.", program), *(("", child) for child in questions_of(program))):
        predictors = {start + name: predictor for name, predictor in place.named_predictors()}
        ours = {name for name in saved if name.startswith(start)} if start else set(saved)
        if ours == set(predictors) and all(saved[name]["fields"] == labels(predictors[name]) for name in ours):
            return predictors
    return None


def questions_of(program: dspy.Module) -> Iterator[dspy.Module]:
    """The module of each question that a role is asked."""
    return (value for value in vars(program).values() if isinstance(value, dspy.Module))


def labels(predictor: dspy.Predict) -> list[str]:
    """The fields of a question as DSPy's file names them: `Tax Schedule` for `tax_schedule`."""
    fields = predictor.signature.fields.values()
    return [str(field.json_schema_extra["prefix"]).removesuffix(":") for field in fields]


def fitting_strategy(saved: Saved, make: Callable[..., Any], role: str) -> str | None:
    """The strategy without a count in which the program `make` of `role` has the saved predictors; None: in none."""
    named = (name for name, entry in STRATEGIES.items() if entry.count is None)
    return next((name for name in named if place_in(saved, make(strategy(name), 1), role) is not None), None)


def misfit(saved: Saved, program: dspy.Module, role: str) -> str:
    """What a file that fits nowhere in `program` has, and what was expected."""
    fitting = fitting_strategy(saved, type(program), role)
    if fitting is not None:
        return f"fits strategy {fitting}: add --strategy {role}={fitting}"
    name, state = next(iter(saved.items()))
    expected = max(program.named_predictors(), key=lambda one: len({*labels(one[1])} & {*state["fields"]}))
    there, here = ", ".join(state["fields"]), ", ".join(labels(expected[1]))
    others = f", with {len(saved) - 1} more predictors" if len(saved) > 1 else ""
    return (
        f"does not fit: predictor {name!r}{others} has the fields {there or 'none'}; expected a module over one "
        f"question of role {role}, such as {expected[0].partition('.')[0]} with the fields {here}"
    )
