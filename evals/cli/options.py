"""Command line options made from the fields of `RunConfig`, so that a setting is described in one place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from itertools import pairwise
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from evals.cli import completions
from evals.run.setting_panels import panel_of, place_of
from pipeline.config import NAMES, OWN_PARTS, RunConfig
from pipeline.errors import UsageError
from pipeline.telemetry_addresses import ENVIRONMENT
from programs.text_files import each_once, underscored
from programs.text_files import read_toml as tables_of

NUMBERS = {int: "a whole number, e.g. 5", float: "a number, e.g. 0.5"}
"""The kinds of numbers that a flag may take, in words."""


PEOPLE = (
    "num_agents",
    "seed",
    "scenario",
    "agent_mix",
    "min_wage",
    "taste_spread",
    "elasticity_of_labor",
    "participation_cost",
    "dollars_of",
    "economy",
    "utility",
    "gamma",
    "spending",
)
"""The settings that determine the people and their economy."""


def with_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command`, which takes `**settings`, one option per field of `RunConfig`; unset options are None."""
    return with_options(command, NAMES)


def with_options(
    command: Callable[..., Any], names: Collection[str], defaults: Mapping[str, Any] = MappingProxyType({})
) -> Callable[..., Any]:
    """Give `command`, which takes `**settings`, an option for each of the `names` of settings; unset ones are None.

    `defaults`: values that the help shows instead of those of `RunConfig`; the command itself uses them.
    """
    own = [
        p
        for p in inspect.signature(command, eval_str=True).parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    hints = get_type_hints(RunConfig, include_extras=True)
    shown = {**vars(RunConfig()), **defaults}
    made = [
        _option(field.name, hints[field.name], field.metadata["description"], shown[field.name])
        for field in sorted(fields(RunConfig), key=lambda field: place_of(field.name))
        if field.name in names
    ]
    command.__annotations__ = {p.name: p.annotation for p in own + made}
    command.__signature__ = inspect.Signature(own + made)  # type: ignore[attr-defined]
    return command


def _option(name: str, annotation: Any, help: str, default: Any) -> inspect.Parameter:
    flag, kind = f"--{name.replace('_', '-')}", _plain(annotation)
    shown = "" if default in (None, "", {}, (), False) else f" [default: {_shown(default)}]"
    names = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    common: dict[str, Any] = {"help": f"{help}{shown}", "rich_help_panel": panel_of(name)}
    if kind in NUMBERS:
        option = typer.Option(names, parser=_reader(kind), metavar=f"<{kind.__name__}>", **common)
    else:
        if f"--{name}" in OPTIONAL:
            common["metavar"] = ADDRESS
        elif name in OWN_PARTS:
            common["metavar"] = f"<{'|'.join(OWN_PARTS[name][1])}|module:Name>"
        option = typer.Option(names, autocompletion=completions.SETTINGS.get(name), **common)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _reader(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """A parser of numbers for the command line; its error quotes text that is not a number."""

    def read(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r}; expected {NUMBERS[kind]}") from None

    return read


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _plain(annotation: Any) -> Any:
    """The type that the command line parses: a Literal's choices, a number, a flag, a list of texts for a repeatable
    flag, or text for pydantic to read."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal or annotation in (int, float, bool):
        return annotation
    return list[str] if annotation == tuple[str, ...] else str


def read_toml(path: str) -> dict[str, Any]:
    """Read a run file, whose keys are the flags, with dashes or underscores. UsageError in one line if it is not
    one."""
    try:
        settings = tables_of(path)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"--config {path} is not TOML: {' '.join(str(error).split())}") from error
    try:
        return each_once(settings.items(), underscored)
    except ValueError as error:
        raise UsageError(f"--config {path}: {error}") from None


ADDRESS = "[<address>]"
OPTIONAL = ("--otel", "--mlflow")
"""Flags whose address may be left out."""


def completed(arguments: list[str]) -> list[str]:
    """The arguments as the command line library reads them: optional values filled in, several values joined."""
    return _with_addresses(gather_elasticities(arguments))


def _with_addresses(arguments: list[str]) -> list[str]:
    """Fill in the addresses that are left out, and read `--wandb trackio` as `--trackio`.

    >>> _with_addresses(["run", "--otel", "--wandb", "trackio", "--mlflow"])
    ['run', '--otel=env', '--trackio', '--mlflow=env']
    """
    made: list[str] = []
    for argument, following in pairwise([*arguments, "--"]):
        if argument == "trackio" and made and made[-1] == "--wandb":
            made[-1] = "--trackio"
        elif argument in OPTIONAL and following.startswith("-"):
            made.append(f"{argument}={ENVIRONMENT}")
        else:
            made.append(argument)
    return made


def gather_elasticities(arguments: list[str]) -> list[str]:
    """Accept several values after one flag, as v1 did: `--elasticity 0.18 0.11 0.57`.

    >>> gather_elasticities(["--elasticity", "0.1", "0.2", "--seed", "1"])
    ['--elasticity', '0.1,0.2', '--seed', '1']
    """
    if arguments[:1] == ["eval"]:  # whose numbers are runs
        return arguments
    gathered: list[str] = []
    for argument in arguments:
        number = re.fullmatch(r"\d*\.?\d+", argument)
        if number and len(gathered) > 1 and gathered[-2] == "--elasticity":
            gathered[-1] += f",{argument}"
        else:
            gathered.append(argument)
    return gathered
