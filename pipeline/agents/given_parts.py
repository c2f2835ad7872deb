"""Convert settings given as objects (models, strategies, tuned modules) into the text that a run stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dspy

from pipeline.agents.given_modules import place_of_module
from pipeline.config import OWN_PARTS, ROLES
from pipeline.economy.baselines import BASELINES
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from programs.plugins import CALLBACK, STRATEGY, Kind, load_object
from programs.roles import saved_program
from programs.strategies.registry import STRATEGIES

BUILT_IN: Mapping[str, Mapping[str, Any]] = {"welfare": WELFARE.builtin, "planner_type": BASELINES.builtin}
"""Built-in functions that may be given as objects, too, by setting."""


def with_paths_as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with text in place of `pathlib` paths."""
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in settings.items()}


def as_stored(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dspy.BaseLM]]:
    """Settings as text and numbers, and the model objects by the name under which they are stored.

    A strategy, a welfare function, a tax law, an election rule or a callback is stored by its name, or as
    `module:Name`. A tuned module is written to the folder of the database, as `STEM.ROLE.HASH.json`. UsageError for an
    object that a run could not store.
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
    if "strategy" in given:
        given |= _strategies(given)
    for name, (kind, _) in OWN_PARTS.items():
        if name in given:
            given[name] = part_name(given[name], kind, BUILT_IN.get(name, {}))
    if "callback" in given:
        several = given["callback"] if isinstance(given["callback"], list | tuple) else [given["callback"]]
        given["callback"] = [part_name(one, CALLBACK, {}) for one in several]
    if isinstance(given.get("program"), Mapping):
        given |= _with_files(given)
    return given, models


def _strategies(given: Mapping[str, Any]) -> dict[str, Any]:
    """`strategy` by name; modules in it are programs. UsageError for a strategy without a role."""
    strategies, programs = given["strategy"], given.get("program") or {}
    if not isinstance(strategies, Mapping):
        if isinstance(strategies, str) or strategies is None:
            return {}
        what = type(strategies).__name__ if isinstance(strategies, dspy.Module) else f"{strategies!r:.60}"
        raise UsageError(
            f"strategy={what}: expected a dictionary by role, such as {{'worker': dspy.ChainOfThought}}; "
            "prompt_algo='cot' asks all roles in one strategy"
        )
    modules = {role: one for role, one in strategies.items() if isinstance(one, dspy.Module)}
    if both := sorted(modules.keys() & programs):
        raise UsageError(f"strategy and program both have a module for {both[0]}; give one of them")
    named = {role: strategy_name(one) for role, one in strategies.items() if role not in modules}
    return {"strategy": named, **({"program": {**programs, **modules}} if modules else {})}


def model_name(model: str | dspy.BaseLM | None, models: dict[str, dspy.BaseLM]) -> str | None:
    """The name of a model that may be given as an object, which is added to `models`."""
    return _named(model, models) if isinstance(model, dspy.BaseLM) else model


def _named(lm: dspy.BaseLM, models: dict[str, dspy.BaseLM]) -> str:
    """The name of a model object. UsageError if another object has it."""
    name = str(lm.model)
    if models.setdefault(name, lm) is not lm:
        raise UsageError(f"two different objects are given for the model {name}; a run stores models by name")
    return name


def strategy_name(strategy: Any) -> str:
    """The name of a strategy, or `module:Name` of one of the user's own. UsageError if it can't be found by a name."""
    return part_name(strategy, STRATEGY, {name: entry.make for name, entry in STRATEGIES.items()})


def part_name(part: Any, kind: Kind, builtin: Mapping[str, Any]) -> str:
    """The name of a part given as an object: a built-in one's, or `module:Name`. UsageError if no name finds it."""
    if isinstance(part, str):
        return part
    known = next((name for name, one in builtin.items() if one is part), None)
    if known is not None:
        return known
    path, what = f"{getattr(part, '__module__', None)}:{getattr(part, '__qualname__', None)}", kind.what
    try:
        found = load_object(path, f"{what} ")
    except ValueError as error:
        raise UsageError(f"{what} {part!r:.60}: a run stores it as module:Name ({error})") from error
    if found is not part:
        raise UsageError(f"{what} {part!r:.60}: {path} is something else; define it at the top level of a module")
    return path


def _with_files(given: Mapping[str, Any]) -> dict[str, Any]:
    """`program` as files, and the strategies that its modules were made with."""
    programs, strategies = {}, dict(given.get("strategy") or {})
    for role, program in given["program"].items():
        if isinstance(program, str | os.PathLike):
            programs[role] = os.fspath(program)
            continue
        if not isinstance(program, dspy.Module):
            raise UsageError(f"program: {role}={program!r:.60}: expected a file or a dspy.Module")
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
