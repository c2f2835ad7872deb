"""Settings of a run given as objects: models, strategies and tuned modules, made into what a run stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dspy

from pipeline.agents.given_modules import place_of_module
from pipeline.config import ROLES
from pipeline.errors import UsageError
from programs.plugins import load_object
from programs.roles import saved_program
from programs.strategies.registry import STRATEGIES


def with_paths_as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with text in place of `pathlib` paths."""
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in settings.items()}


def as_stored(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dspy.BaseLM]]:
    """Settings as text and numbers, and the model objects by the name under which they are stored.

    A strategy is stored by its name, or as `module:Name`. A tuned module is written to the folder of the database, as
    `STEM.ROLE.HASH.json`. UsageError for an object that a run could not store.
    """
    given = with_paths_as_text(settings)
    models: dict[str, dspy.BaseLM] = {}
    if isinstance(given.get("llm"), dspy.BaseLM):
        given["llm"] = _named(given["llm"], models)
    if isinstance(given.get("role_llm"), Mapping):
        given["role_llm"] = {
            role: _named(lm, models) if isinstance(lm, dspy.BaseLM) else lm for role, lm in given["role_llm"].items()
        }
    if "prompt_algo" in given:
        given["prompt_algo"] = strategy_name(given["prompt_algo"])
    if isinstance(given.get("strategy"), Mapping):
        given["strategy"] = {role: strategy_name(one) for role, one in given["strategy"].items()}
    if isinstance(given.get("program"), Mapping):
        given |= _with_files(given)
    return given, models


def _named(lm: dspy.BaseLM, models: dict[str, dspy.BaseLM]) -> str:
    """The name of a model object. UsageError if another object has it."""
    name = str(lm.model)
    if models.setdefault(name, lm) is not lm:
        raise UsageError(f"llm and role_llm have two different objects for {name}; a run stores models by name")
    return name


def strategy_name(strategy: Any) -> str:
    """The name of a strategy, or `module:Name` of one of the user's own. UsageError if it can't be found by a name."""
    if isinstance(strategy, str):
        return strategy
    known = next((name for name, entry in STRATEGIES.items() if entry.make is strategy), None)
    if known is not None:
        return known
    path = f"{getattr(strategy, '__module__', None)}:{getattr(strategy, '__qualname__', None)}"
    try:
        found = load_object(path, "strategy ")
    except ValueError as error:
        raise UsageError(f"strategy {strategy!r:.60}: a run stores it as module:Name ({error})") from error
    if found is not strategy:
        raise UsageError(f"strategy {strategy!r:.60}: {path} is something else; define it at the top level of a module")
    return path


def _with_files(given: Mapping[str, Any]) -> dict[str, Any]:
    """`program` as files, and the strategies that made modules."""
    programs, strategies = {}, dict(given.get("strategy") or {})
    for role, program in given["program"].items():
        if not isinstance(program, dspy.Module):
            programs[role] = os.fspath(program)
            continue
        if role not in ROLES:
            raise UsageError(f"program: no role {role!r}; expected {', '.join(ROLES)}")
        found, strategy, whole = place_of_module(program, strategies.get(role))
        if found != role:
            raise UsageError(f"program: this module answers questions of role {found}, not of {role}")
        programs[role], strategies[role] = (
            _written(whole, role, strategy, str(given.get("db", "economist.duckdb"))),
            strategy,
        )
    return {"program": programs, "strategy": strategies}


def _written(program: dspy.Module, role: str, strategy: str, db: str) -> str:
    """The file of a program in the folder of the database, named by a hash of its contents."""
    part = Path(db).with_suffix(f".{role}.new.json")
    try:
        saved_program.save(program, str(part), role=role, strategy=strategy)
        file = part.with_name(f"{Path(db).stem}.{role}.{blake2b(part.read_bytes(), digest_size=4).hexdigest()}.json")
        os.replace(part, file)
    except OSError as error:
        raise UsageError(f"program: {part} cannot be written ({error.strerror})") from error
    return str(file)
