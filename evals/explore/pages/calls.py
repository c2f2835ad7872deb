"""Model calls: filtered by role, status and regret, the worst decisions first; a click shows a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marimo as mo

from evals.explore import elements, markup
from evals.explore.calls import call, shown_calls
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from pipeline.store.columns import Row

MOST = 500
ANY = "any"

KINDS = "SELECT DISTINCT role, status FROM lm_calls WHERE run_id = ? LIMIT 1000"

CALLS = """
SELECT c.call_id, c.year, c.agent, c.role, c.signature, c.status, c.attempt, round(d.regret) AS regret,
       c.prompt_tokens, c.completion_tokens, round(c.latency_ms) AS ms
FROM lm_calls c LEFT JOIN decisions d ON d.run_id = c.run_id AND d.year = c.year AND d.call_id = c.call_id
WHERE c.run_id = $1 AND ($2 IS NULL OR c.role = $2) AND ($3 IS NULL OR c.status = $3)
      AND ($4 <= 0 OR d.regret >= $4)
ORDER BY d.regret DESC NULLS LAST, c.call_id LIMIT $5
"""


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run, and the least regret of the decisions."""
    return {
        "run": elements.run(source, asked),
        "regret": mo.ui.number(0, 10_000_000, step=100, value=0, label="least regret, dollars", debounce=True),
        "role": mo.ui.dropdown(_kinds(source, "role"), value=ANY, label="role"),
        "status": mo.ui.dropdown(_kinds(source, "status"), value=ANY, label="status"),
    }


def _kinds(source: Source, column: str) -> dict[str, str | None]:
    """The values of a column in the chosen runs, or in the newest run of each database, by the words for them."""
    newest: dict[str, Place] = {}
    for place in source.runs():
        newest.setdefault(place.db, place)
    values = set()
    for place in (*source.chosen, *newest.values()):
        with source.reading(place.db) as reader:
            values |= {row[column] for row in reader.rows(KINDS, [place.run_id]) if row[column]}
    named = {"role": ("worker", "planner", "voter"), "status": ("ok", "parse_error")}[column]
    return {ANY: None} | {elements.word(value) or "unnamed": value for value in sorted(values | set(named))}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The calls, highest regret first."""
    place: Place = values["run"]
    given = [place.run_id, values["role"], values["status"], float(values["regret"] or 0), MOST]
    with source.reading(place.db) as reader:
        rows = [_safe(row) for row in reader.rows(CALLS, given)]
    return elements.clickable(rows, at=0) if rows else None


def _safe(row: Row) -> Row:
    texts = {name: elements.word(row[name]) for name in ("role", "signature", "status")}
    return {**row, **texts, "call_id": str(row["call_id"])}  # a browser's numbers have 53 bits


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The chosen call."""
    if not picked:
        return markup.joined(markup.paragraph("No such call, or none is chosen."))
    with source.reading(values["run"].db) as reader:
        found = call(reader, int(picked[0]["call_id"]))
    note = f"The table has at most {MOST} calls, those with the highest regret first."
    return markup.joined(markup.paragraph(note), shown_calls(found))
