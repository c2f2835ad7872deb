"""`validate --dry-run`: estimate the cost of a card, measured on the engine `rules` in a temporary database."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.output.console import Console
from evals.run.dry_run import FEWEST_PER_CHARACTER, MOST_PER_CHARACTER, SHORTEST_REPLY, Line, table
from evals.validity.plan import Plan
from pipeline.temporary_files import temporary_folder
from programs.adapters.repairing import REPAIRS
from programs.calls.model_names import RULES

MEASURED = """
SELECT signature, count(*)::INTEGER AS calls, sum(length(prompt))::INTEGER AS prompt,
       sum(length(response))::INTEGER AS reply
FROM lm_calls GROUP BY signature ORDER BY signature
"""


def forecast(plan: Plan, measured: Callable[[Plan, str], list[dict[str, Any]]], console: Console) -> None:
    """Print calls, tokens and dollars. `measured` makes the card of a plan, and answers a query on its database."""
    with temporary_folder() as folder:
        db = str(Path(folder) / "dry.duckdb")
        free = replace(plan.config, db=db, max_cost_usd=None, max_tokens=None, base_url=None)
        rows = measured(replace(plan, config=free, model=RULES), MEASURED)
    lines = {row["signature"]: _line(row, plan.config.max_output_tokens) for row in rows}
    console.print(table(lines, plan.prices.of(plan.model)))
    most = (REPAIRS + 1) * sum(line.calls[1] for line in lines.values())
    console.print(
        f"{plan.questions} questions; a question whose reply does not parse is repeated up to {REPAIRS} times, so at "
        f"most {most:,} calls. The count includes stored replies, which are reused.",
        highlight=False,
        soft_wrap=True,
    )


def _line(row: dict[str, Any], longest: int) -> Line:
    """The cost of the questions of a signature, from the number of characters with `rules`."""
    prompt = int(row["prompt"] * FEWEST_PER_CHARACTER), math.ceil(row["prompt"] * MOST_PER_CHARACTER)
    reply = int(row["reply"] * SHORTEST_REPLY * FEWEST_PER_CHARACTER), row["calls"] * longest
    return Line((row["calls"], row["calls"]), prompt, reply)
