"""Saved programs: plain JSON that a person can review, checked against the program that it is loaded into.

Never pickle. The format holds DSPy's own state of each predictor (instructions, demos), the role, the strategy and
the field names: DSPy alone would zip a wrong file's fields by position and say nothing.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dspy

FORMAT = "llm-economist program 1"


def fields_of(program: dspy.Module) -> dict[str, list[str]]:
    """Field names of every predictor, inputs first."""
    return {name: list(predictor.signature.fields) for name, predictor in program.named_predictors()}


def save(program: dspy.Module, path: str, *, role: str, strategy: str) -> None:
    """Write `program` to `path` as JSON, without its language model."""
    state = {name: {**predictor.dump_state(), "lm": None} for name, predictor in program.named_predictors()}
    record = {
        "format": FORMAT,
        "role": role,
        "strategy": strategy,
        "fields": fields_of(program),
        "state": state,
    }
    Path(path).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def load(program: dspy.Module, path: str, *, role: str, strategy: str) -> None:
    """Put the state saved at `path` into `program`. ValueError says in one line what does not fit."""
    record = read(path)
    for key, wanted in (("role", role), ("strategy", strategy)):
        if record.get(key) != wanted:
            raise ValueError(f"--program {role}={path} was saved for {key} {record.get(key)!r}, not {wanted!r}")
    if record.get("fields") != fields_of(program):
        raise ValueError(
            f"--program {role}={path} has fields {record.get('fields')}, the program has {fields_of(program)}"
        )
    try:
        for name, predictor in program.named_predictors():
            # A model named in the file would replace the run's own, untraced.
            predictor.load_state({**record["state"][name], "lm": None})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"--program {role}={path} has no usable state ({type(error).__name__}: {error})") from error


def state_hash(state: Any) -> str:
    """What tells one saved state from another, wherever its file lies: 16 hexadecimal digits."""
    return blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=8).hexdigest()


def read(path: str) -> dict[str, Any]:
    """The record in a program file. ValueError in one line where there is none."""
    try:
        record = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ValueError(f"program file {path} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"program file {path} is not readable JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"program file {path} is not of format {FORMAT!r}")
    return record
