"""Saved queries: `queries/NAME.sql`, each with its help, parameters and chart (charts.py) in its opening comment.

-- The question, in one line. -- More about it, in further lines. -- param: run_id INTEGER = latest run -- param: wage
DOUBLE = 20 (dollars an hour)

Parameters are `$name` in the SQL and go to DuckDB as values, never as text.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from evals.sql import charts as charts_of
from evals.sql.charts import DeclaredChart
from pipeline.errors import UsageError
from programs.text_files import each_once, underscored

LATEST_RUN = "latest run"
LOOKUPS = {LATEST_RUN: "SELECT max(run_id) FROM runs"}
"""Defaults that depend on the database, and the query that finds them."""

PARAMETER = re.compile(r"param: (\w+) (INTEGER|DOUBLE|VARCHAR|BOOLEAN) = (.*)")

LARGEST = 2**127
"""The range of DuckDB's integers."""


def _integer(text: str) -> int:
    value = int(text)
    if not -LARGEST <= value < LARGEST:
        raise ValueError("beyond DuckDB's integers")
    return value


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        raise ValueError("beyond a double")
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


TYPES: Mapping[str, Callable[[str], Any]] = {
    "INTEGER": _integer,
    "DOUBLE": _double,
    "VARCHAR": str,
    "BOOLEAN": _boolean,
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query."""

    name: str
    type: str
    default: str
    help: str

    def value(self, text: str) -> Any:
        """`text` as a value of the parameter's type; NULL is None. UsageError if it is not one."""
        if text == "NULL":
            return None
        try:
            return TYPES[self.type](text)
        except (ValueError, KeyError) as error:
            raise UsageError(f"--param {self.name}={text}: expected {self.type}, e.g. {self.default}") from error

    def __str__(self) -> str:
        return f"{self.name} {self.type} = {self.default}" + (f" ({self.help})" if self.help else "")


@dataclass(frozen=True)
class Question:
    """SQL with its help: the first line is the question it answers."""

    name: str
    help: list[str]
    parameters: list[Parameter]
    sql: str
    chart: DeclaredChart | None = None

    def bind(self, given: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Values by name, and queries for the others, from `NAME=VALUE` texts and defaults."""
        texts = {parameter.name: parameter.default for parameter in self.parameters} | self._named(given)
        known = {parameter.name: parameter for parameter in self.parameters}
        values = {
            name: known[name].value(text) if name in known else guess(text)
            for name, text in texts.items()
            if text not in LOOKUPS
        }
        return values, {name: LOOKUPS[text] for name, text in texts.items() if text in LOOKUPS}

    def _named(self, given: Iterable[str]) -> dict[str, str]:
        named: list[tuple[str, str]] = []
        for text in given:
            name, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--param {text}: expected NAME=VALUE")
            if self.name and name not in {parameter.name for parameter in self.parameters}:
                has = ", ".join(parameter.name for parameter in self.parameters) or "none"
                raise UsageError(f"--param {text}: {self.name} has no parameter {name}; it has: {has}")
            named.append((name, value))
        try:
            return each_once(named)
        except ValueError as error:
            raise UsageError(f"--param {error}") from None


def guess(text: str) -> Any:
    """A value of the type that `text` looks like.

    >>> [guess(text) for text in ("3", "0.5", "true", "NULL", "io")]
    [3, 0.5, True, None, 'io']
    """
    if text == "NULL":
        return None
    for kind in (_integer, _double, _boolean):
        try:
            return kind(text)
        except (ValueError, KeyError):
            continue
    return text


def parse(name: str, text: str) -> Question:
    """A query from its SQL; `name` is empty for one that is not saved."""
    comment = re.match(r"\s*(?:--.*\n)*", text)
    lines = [line.removeprefix("--").strip() for line in (comment.group().strip() if comment else "").splitlines()]
    found = [_parameter(line) for line in lines]
    for line, parameter in zip(lines, found, strict=True):
        if parameter is None and line.startswith("param:"):
            raise UsageError(
                f"-- {line}: expected -- param: NAME INTEGER|DOUBLE|VARCHAR|BOOLEAN = DEFAULT (what it is)"
            )
    charts = [charts_of.parse(line.removeprefix("chart:")) for line in lines if line.startswith("chart:")]
    if len(charts) > 1:
        raise UsageError(f"-- chart: declared {len(charts)} times; a query has one chart")
    return Question(
        name,
        [
            line
            for line, parameter in zip(lines, found, strict=True)
            if parameter is None and not line.startswith("chart:")
        ],
        [parameter for parameter in found if parameter is not None],
        text,
        charts[0] if charts else None,
    )


def _parameter(line: str) -> Parameter | None:
    """The parameter that a comment line declares; its help is the text in parentheses at the end."""
    declared = PARAMETER.fullmatch(line)
    if declared is None:
        return None
    name, kind, default = declared.groups()
    before, opened, help = default.partition(" (")
    if opened and len(help) > 1 and help.endswith(")"):
        return Parameter(name, kind, before, help[:-1])
    return Parameter(name, kind, default, "")


def questions() -> dict[str, Question]:
    """All saved queries by name."""
    saved = sorted(files("evals").joinpath("sql", "queries").iterdir(), key=lambda file: file.name)
    names = [file.name.removesuffix(".sql") for file in saved if file.name.endswith(".sql")]
    return {
        name: parse(name, files("evals").joinpath("sql", "queries", f"{name}.sql").read_text(encoding="utf-8"))
        for name in names
    }


def question(text: str) -> Question:
    """The saved query of that name, or one made from the SQL. UsageError for an unknown name."""
    if not re.fullmatch(r"[\w-]+", text):
        return parse("", text)
    known = questions()
    name = underscored(text)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no saved query {text!r}{meant} (llm-economist sql --list shows all, or give a SELECT)")
    return known[name]
