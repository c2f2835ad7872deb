"""Evaluate the condition after `where` in a shock: SQL that may only compare columns of agents.

DuckDB parses a condition. Its syntax tree is checked against a list of harmless expressions, and only then is it
evaluated, in an in-memory database that holds the agents and has no access to files. Conditions are not trusted,
because they can come from a database that a stranger made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.population import Population
from pipeline.errors import UsageError

COLUMNS = ("agent", "wage", "income_at_40_hours", "utility_type", "occupation", "sex", "age")
"""The columns that a condition can use: those of the table `agents`, before any shock."""

COMPARISONS = ("CONSTANT", "CONJUNCTION", "COMPARISON", "BETWEEN")
OPERATORS = ("OPERATOR_NOT", "COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL")
FUNCTIONS = ("~~", "!~~", "~~*", "!~~*", "+", "-", "*", "/", "%")
"""DuckDB's names of operators; the first four are like, not like, ilike and not ilike."""

QUERY = "SELECT agent FROM agents WHERE (\n{}\n)"


def agents_matching(condition: str, population: Population) -> NDArray[np.bool_]:
    """Which agents (N,) satisfy a condition. UsageError in one line if it is not valid."""
    import duckdb

    from pipeline.store.reader import LOCKDOWN

    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "1GB"}) as box:
        for setting in LOCKDOWN:
            box.execute(f"SET {setting}")
        columns = _columns(population)
        _refuse_all_but_comparisons(_parsed(box, condition), _parsed(box, "true"), list(columns))
        box.register("agents", _table(columns))
        try:
            chosen = box.execute(QUERY.format(condition)).fetchnumpy()["agent"]
        except duckdb.Error as error:
            raise UsageError(f"the condition cannot be evaluated ({_first_line(error)})") from error
    hit = np.zeros(population.num_agents, dtype=bool)
    hit[chosen] = True
    return hit


def _columns(population: Population) -> dict[str, Any]:
    """The columns that this population has."""
    every = {
        "agent": np.arange(population.num_agents),
        "wage": population.wage,
        "income_at_40_hours": population.income_at_40_hours,
        "utility_type": population.utility_type,
        "occupation": population.occupation,
        "sex": population.sex,
        "age": population.age,
    }
    return {name: every[name] for name in COLUMNS if every[name] is not None}


def _table(columns: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.table({name: pa.array(column) for name, column in columns.items()})


def _parsed(box: Any, condition: str) -> dict[str, Any]:
    """The syntax tree of the query with this condition. UsageError if it cannot be parsed."""
    query = "SELECT json_serialize_sql($query::VARCHAR)"
    import duckdb

    try:
        tree: dict[str, Any] = json.loads(box.execute(query, {"query": QUERY.format(condition)}).fetchall()[0][0])
    except (duckdb.Error, RecursionError) as error:  # invalid Unicode, or nested too deeply
        raise UsageError(f"the condition cannot be parsed ({_first_line(error)}); {_expected(COLUMNS)}") from error
    if tree["error"]:
        raise UsageError(f"the condition is not SQL ({_first_line(tree['error_message'])}); {_expected(COLUMNS)}")
    return tree


def _refuse_all_but_comparisons(tree: dict[str, Any], plain: dict[str, Any], columns: list[str]) -> None:
    """UsageError unless `tree` differs from the `plain` query only in its condition, made of comparisons of
    `columns`."""
    condition = tree["statements"][0]["node"].pop("where_clause", None)
    plain["statements"][0]["node"].pop("where_clause")
    if tree != plain or condition is None:
        raise UsageError(f"more than a condition; {_expected(columns)}")
    for part in _parts(condition):
        if part["class"] == "COLUMN_REF":
            _refuse_unknown(part["column_names"], columns)
        elif not _harmless(part):
            what = part.get("function_name") or part["type"].lower().replace("_", " ")
            raise UsageError(f"{what} is not allowed in a condition; {_expected(columns)}")


def _harmless(part: dict[str, Any]) -> bool:
    if part["class"] == "OPERATOR":
        return part["type"] in OPERATORS
    if part["class"] == "FUNCTION":
        return bool(part["is_operator"]) and part["function_name"] in FUNCTIONS
    return part["class"] in COMPARISONS


def _refuse_unknown(names: list[str], columns: list[str]) -> None:
    name = ".".join(names)
    if name.lower() not in columns:
        people = name.lower() in COLUMNS
        why = (
            "these agents have no demographics (use --scenario bounded or --agent-mix acs)"
            if people
            else "no such column"
        )
        raise UsageError(f"{name}: {why}; {_expected(columns)}")


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression in a syntax tree."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for below in tree.values():
            yield from _parts(below)
    elif isinstance(tree, list):
        for below in tree:
            yield from _parts(below)


def _expected(columns: tuple[str, ...] | list[str]) -> str:
    return f"expected comparisons (=, <, like, in, between, is null) of {', '.join(columns)}, joined by and, or, not"


def _first_line(error: object) -> str:
    return " ".join(str(error).partition("\n\n")[0].split())[:200]
