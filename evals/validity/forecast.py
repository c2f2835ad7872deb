"""`validate --dry-run`: what a card takes, measured on the engine `rules` in a database that is thrown away."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evals.dry_run import FEWEST_PER_CHARACTER, MOST_PER_CHARACTER, SHORTEST_REPLY, dollars, span
from evals.validity.plan import Plan
from programs.adapter import REPAIRS
from programs.lm import RULES

MEASURED = """
SELECT signature, count(*)::INTEGER AS calls, sum(length(prompt))::INTEGER AS prompt,
       sum(length(response))::INTEGER AS response
FROM lm_calls GROUP BY signature ORDER BY signature
"""


def forecast(plan: Plan, rows_of: Callable[[Plan, str], list[dict[str, Any]]], console: Console) -> None:
    """Print calls, tokens and dollars. `rows_of` makes the card of a plan and answers a query on its database."""
    with TemporaryDirectory(prefix="llm-economist-") as folder:
        free = replace(
            plan.config, db=str(Path(folder) / "dry.duckdb"), max_cost_usd=None, max_tokens=None, base_url=None
        )
        measured = rows_of(replace(plan, config=free, model=RULES), MEASURED)
    price, longest = plan.prices.of(plan.model), plan.config.max_output_tokens
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in ("signature", "calls", "prompt tokens", "reply tokens", "dollars"):
        table.add_column(column, justify="left" if column == "signature" else "right")
    total = [0] * 5
    for row in [*measured, None]:
        if row is None:
            name, figures = "total", total
        else:
            calls, prompt, reply = (int(row[column]) for column in ("calls", "prompt", "response"))
            name = str(row["signature"])
            figures = [
                calls,
                int(prompt * FEWEST_PER_CHARACTER),
                math.ceil(prompt * MOST_PER_CHARACTER),
                int(reply * SHORTEST_REPLY * FEWEST_PER_CHARACTER),
                calls * longest,
            ]
            total = [a + b for a, b in zip(total, figures, strict=True)]
        calls, least_in, most_in, least_out, most_out = figures
        cost = (price.of(least_in, least_out), price.of(most_in, most_out)) if price else None
        table.add_row(name, f"{calls:,}", span((least_in, most_in)), span((least_out, most_out)), dollars(cost))
    console.print(table)
    console.print(
        f"{plan.questions} questions; a reply that does not parse is asked for again up to {REPAIRS} times, so at most "
        f"{(REPAIRS + 1) * total[0]:,} calls. Replies that are stored are used again and are counted here.",
        highlight=False,
        soft_wrap=True,
    )
