"""Show the cards in a database side by side."""

from __future__ import annotations

from rich.table import Table

from evals.output.console import Console
from evals.output.number_format import decimal, plain
from evals.output.tables import rich_table
from evals.validity.card import SUBJECT
from evals.validity.checks import CHECKS
from pipeline.agents.roles import QUESTIONS
from pipeline.errors import UsageError
from pipeline.store.columns import Reader

STORED = """
SELECT arm || CASE WHEN schema_version IS NULL THEN ' (scored by an older version)' ELSE '' END AS arm,
       metric, score, low, high, runs FROM evaluations WHERE subject = ? ORDER BY created_at, study, metric
"""


def side_by_side(reader: Reader) -> Table:
    """One column per card, the oldest first, and one row per check. UsageError if there is no card."""
    cards: dict[str, dict[str, str]] = {}
    for row in reader.rows(STORED, [SUBJECT]):
        ends = "" if row["low"] is None else f" [{decimal(row['low'])}, {decimal(row['high'])}]"
        cards.setdefault(row["arm"], {})[row["metric"]] = f"{decimal(row['score'])}{ends} n={row['runs']}"
    if not cards:
        raise UsageError("no validity card is stored here; make one: llm-economist validate --llm NAME")
    names = {**{name: name for name in CHECKS}, **{name: f"replies to {name}" for name in QUESTIONS}}
    rows = ([shown, *(scores.get(name, "-") for scores in cards.values())] for name, shown in names.items())
    return rich_table(["score, 0 to 1, 95 % interval, questions", *map(plain, cards)], rows, gap=2)


def show(reader: Reader, console: Console) -> None:
    """Print the cards; without a terminal every value is complete."""
    table = side_by_side(reader)
    wide = Console(file=console.file, width=40 + 40 * (len(table.columns) - 1))
    (console if console.is_terminal else wide).print(table)
