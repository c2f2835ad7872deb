"""What the reading commands print: query results as a table or JSON, and one call as a page."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import UsageError
from pipeline.query import Result, select

RUNS = """
SELECT run_id, name, status, scenario, llm, planner_type, seed, num_agents, max_timesteps,
       (SELECT count(*) FROM years y WHERE y.run_id = r.run_id) AS years_played,
       (SELECT arg_max(welfare, year) FROM years y WHERE y.run_id = r.run_id) AS last_welfare,
       (SELECT sum(cost_usd) FROM lm_calls c WHERE c.run_id = r.run_id) AS cost_usd,
       strftime(created_at, '%Y-%m-%d %H:%M') AS created_utc
FROM runs r ORDER BY run_id
"""

CALL = """
SELECT c.*, d.labor, d.utility, d.best_labor, d.best_utility, d.regret, d.satisfied
FROM lm_calls c LEFT JOIN decisions d ON d.run_id = c.run_id AND d.year = c.year AND d.agent = c.agent
WHERE c.call_id = ?
"""


def print_query(db: str, query: str, *, limit: int | None = None, as_json: bool = False) -> None:
    """Print the rows of one SELECT; a notice on standard error where the limit cut them."""
    result = select(db, query, limit=limit)
    if as_json:
        records = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        print(json.dumps(records, default=str, indent=1))
    else:
        _print_table(result)
    if result.more:
        Console(stderr=True).print(f"first {limit} rows; more with --limit", style="dim")


def _print_table(result: Result) -> None:
    """A table that keeps every value whole: cells fold in a terminal, and nothing is cut in a pipe."""
    console = Console()
    table = Table()
    for i, column in enumerate(result.columns):
        numeric = any(isinstance(row[i], int | float) for row in result.rows[:1])
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(Text(cell(value)) for value in row))
    if not console.is_terminal:
        console = Console(width=max(80, min(_width(result), 10_000)))
    console.print(table)


def _width(result: Result) -> int:
    """Characters that a table of all rows needs when no cell is folded."""
    columns = zip(result.columns, *([cell(value) for value in row] for row in result.rows), strict=True)
    return sum(max(map(_longest_line, column)) + 3 for column in columns) + 1


def _longest_line(text: str) -> int:
    return max(map(len, text.split("\n")))


def cell(value: Any) -> str:
    """One value as text: empty for NULL, six significant digits for a fraction."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(cell, value)) + "]"
    return str(value)


def print_call(db: str, call_id: int) -> None:
    """Print one call: its place, the whole prompt, the reply, the parsed values and the decision's outcome."""
    result = select(db, CALL, [call_id])
    if not result.rows:
        raise UsageError(
            f"no call {call_id} in {db}; find one with: "
            'llm-economist sql "select call_id, signature, status from lm_calls"'
        )
    call = dict(zip(result.columns, result.rows[0], strict=True))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    who = "the planner" if call["agent"] is None else f"worker {call['agent']}"
    console.print(
        f"call {call_id}: run {call['run_id']}, year {call['year']}, {who}, {call['signature']} "
        f"({call['role']}, {call['strategy']}), {call['model']}, attempt {call['attempt']}"
    )
    console.print(
        f"status {call['status']}{': ' + call['error'] if call['error'] else ''}; "
        f"tokens {cell(call['prompt_tokens'])} + {cell(call['completion_tokens'])}; "
        f"cost {cell(call['cost_usd'])} dollars; {call['latency_ms']:.1f} ms"
    )
    for title, text in (("prompt", call["prompt"]), ("reply", call["response"]), ("parsed", call["parsed"])):
        console.rule(title, align="left")
        console.print(text if text is not None else "(none)")
    if call["labor"] is not None:
        console.rule("what came of the year", align="left")
        console.print(
            f"worked {cell(call['labor'])} hours, utility {call['utility']:,.0f}; best {call['best_labor']:.1f} hours, "
            f"{call['best_utility']:,.0f}; regret {call['regret']:,.0f} dollars"
        )
