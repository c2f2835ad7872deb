"""Model calls by role, status, regret and version of the prompt, the worst decisions first; versions compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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

SYSTEM = r"rtrim(split_part(prompt, E'### user\n', 1), E'\n')"
"""The version of a prompt: what a model is told before the question, as in the view prompt_versions."""

VERSIONS = f"""
SELECT signature, left(md5({SYSTEM}), 12) AS version, count(*) AS calls, min(call_id) AS example
FROM (SELECT signature, prompt, call_id FROM lm_calls WHERE run_id = ? AND prompt IS NOT NULL LIMIT ?)
GROUP BY ALL ORDER BY calls DESC, version LIMIT 60
"""

MOST_PROMPTS = 50_000
"""Calls of a run in which versions of the prompts are looked for."""

PROMPT = f"SELECT left({SYSTEM}, ?) AS prompt FROM lm_calls WHERE call_id = ?"

MOST_TEXT = 40_000
"""Characters of a prompt that are compared."""

CALLS = f"""
SELECT c.call_id, c.year, c.agent, c.role, c.signature, c.status, c.attempt, round(d.regret) AS regret,
       c.prompt_tokens, c.completion_tokens, round(c.latency_ms) AS ms
FROM lm_calls c LEFT JOIN decisions d ON d.run_id = c.run_id AND d.year = c.year AND d.call_id = c.call_id
WHERE c.run_id = $1 AND ($2 IS NULL OR c.role = $2) AND ($3 IS NULL OR c.status = $3)
      AND ($4 <= 0 OR d.regret >= $4) AND ($5 IS NULL OR left(md5({SYSTEM}), 12) = $5)
ORDER BY d.regret DESC NULLS LAST, c.call_id LIMIT $6
"""


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run, the least regret of the decisions, and what else the calls have in common."""
    versions = _versions(source)
    return {
        "run": elements.run(source, asked),
        "regret": mo.ui.number(0, 10_000_000, step=100, value=0, label="least regret, dollars", debounce=True),
        "role": mo.ui.dropdown(_kinds(source, "role"), value=ANY, label="role"),
        "status": mo.ui.dropdown(_kinds(source, "status"), value=ANY, label="status"),
        "version": mo.ui.dropdown(versions, value=ANY, label="prompt version", searchable=True),
        "other": mo.ui.dropdown({**versions, ANY: None}, value=ANY, label="compared with", searchable=True),
    }


@dataclass(frozen=True)
class Version:
    """A version of a prompt: the first digits of its hash, and a call that was made with it."""

    name: str
    hash: str
    db: str
    example: int


def _versions(source: Source) -> dict[str, Version | None]:
    """The versions of the prompts of `_looked_at`, by their words, the most frequent first."""
    found: dict[str, Version | None] = {ANY: None}
    for place in _looked_at(source):
        with source.reading(place.db) as reader:
            for row in reader.rows(VERSIONS, [place.run_id, MOST_PROMPTS]):
                name = f"{elements.word(row['signature'])} {row['version']}, run {place.run_id}"
                name = name if name not in found else f"{name} of {elements.word(Path(place.db).name)}"
                found[name] = Version(name, row["version"], place.db, row["example"])
    return found


def _looked_at(source: Source) -> list[Place]:
    """The chosen runs, and the newest run of each database."""
    newest: dict[str, Place] = {}
    for place in source.runs():
        newest.setdefault(place.db, place)
    return list(dict.fromkeys((*source.chosen, *newest.values())))


def _kinds(source: Source, column: str) -> dict[str, str | None]:
    """The values of a column in the runs of `_looked_at`, by the words for them."""
    values = set()
    for place in _looked_at(source):
        with source.reading(place.db) as reader:
            values |= {row[column] for row in reader.rows(KINDS, [place.run_id]) if row[column]}
    named = {"role": ("worker", "planner", "voter"), "status": ("ok", "parse_error")}[column]
    return {ANY: None} | {elements.word(value) or "unnamed": value for value in sorted(values | set(named))}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The calls, highest regret first."""
    place: Place = values["run"]
    version: Version | None = values["version"]
    given = [place.run_id, values["role"], values["status"], float(values["regret"] or 0)]
    given += [None if version is None else version.hash, MOST]
    with source.reading(place.db) as reader:
        rows = [_safe(row) for row in reader.rows(CALLS, given)]
    return elements.clickable(rows, at=0) if rows else None


def _safe(row: Row) -> Row:
    texts = {name: elements.word(row[name]) for name in ("role", "signature", "status")}
    return {**row, **texts, "call_id": str(row["call_id"])}  # a browser's numbers have 53 bits


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """What changed between two versions of a prompt, if two are chosen, and the chosen call."""
    compared = _compared(source, values["version"], values["other"])
    if not picked:
        return markup.joined(*compared, markup.paragraph("No such call, or none is chosen."))
    with source.reading(values["run"].db) as reader:
        found = call(reader, int(picked[0]["call_id"]))
    note = f"The table has at most {MOST} calls, those with the highest regret first."
    return markup.joined(*compared, markup.paragraph(note), shown_calls(found))


def _compared(source: Source, version: Version | None, other: Version | None) -> list[Html]:
    if other is None:
        return []
    if version is None:
        return [markup.paragraph("Choose a prompt version to compare with the other one.")]
    before, after = (_prompt(source, one) for one in (other, version))
    title = markup.heading(f"{version.name}: changes from {other.name}")
    return [title, markup.block("changes", markup.changed(before, after))]


def _prompt(source: Source, version: Version) -> str:
    with source.reading(version.db) as reader:
        return str(reader.rows(PROMPT, [MOST_TEXT, version.example])[0]["prompt"])
