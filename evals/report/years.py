"""The years of a run for the slider of the report: the last one as tables, and all as JSON of limited size.

The JSON holds only text that is ready to show, so that the page's script puts words into cells and computes nothing.
If all years with single workers are too many, wage tenths stand for the workers; if these are too many, too, only every
second, fourth, eighth ... year is kept, always with the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from evals.output.tables import Table
from evals.policies.loaded_run import LoadedRun
from evals.report import year_cells as cells
from evals.report.tables import even_ranks
from evals.report.year_cells import MOST_VOTES, MOST_WORKERS, Years
from pipeline.store.columns import Reader, Row

PAGE_BYTES = 1_000_000
"""The largest JSON of years on a page. Its runs share it equally."""

LEAST_ROW = 40
"""Bytes that a row of a worker or a tenth takes at least."""

FEW = 10
"""Fewer workers are not grouped by tenths as long as each of them is shown."""


@dataclass(frozen=True)
class Embedded:
    """The years of a run. `note`: what is left out, or empty. `json`: of all `count` years, the latest of them `last`.

    `title`, `facts`, `law`, `tables`: of the last year, the tables by the name that the script uses. `election`,
    `candidates`, `ballots`: of the latest election, None and empty without one.
    """

    label: str
    note: str
    title: str
    facts: dict[str, str]
    law: Table
    tables: dict[str, Table]
    election: dict[str, Any] | None
    candidates: Table
    ballots: Table
    json: str
    count: int
    last: int


@dataclass(frozen=True)
class Detail:
    """How much of a run is embedded: every `step`-th year, with single `workers` and ballots or without."""

    workers: bool
    step: int


def embedded(reader: Reader, run: LoadedRun, *, most: int = PAGE_BYTES) -> Embedded:
    """The years of a run with the most detail whose JSON has at most `most` bytes."""
    for detail in _details(run, most):
        made = _gathered(reader, run, detail, most)
        if made is not None:
            return made
    raise AssertionError(f"a single year of {run.label} has more than {most:,} bytes")


def _details(run: LoadedRun, most: int) -> Iterator[Detail]:
    """From the most detail to the least, without those that cannot fit."""
    workers = min(run.config.num_agents, MOST_WORKERS)
    if run.years * workers * LEAST_ROW <= most:
        yield Detail(workers=True, step=1)
    step = 1
    while step < 2 * run.years:
        if -(-run.years // step) * min(run.config.num_agents, 10) * LEAST_ROW <= most:
            yield Detail(workers=False, step=step)
        step *= 2


def _gathered(reader: Reader, run: LoadedRun, detail: Detail, most: int) -> Embedded | None:
    """The years in this detail; None if they are too many."""
    last = run.years - 1
    years = Years(run.run_id, last % detail.step, last, detail.step)
    laws = years.read(reader, cells.LAWS)
    held, left_out = _elections(reader, run, ballots=detail.workers, most=most if detail.workers else most // 2)
    if detail.workers and left_out:
        return None
    tables, columns = _tables(reader, run, years, single=detail.workers)
    elected = any(law["leader"] is not None for law in laws)
    shown = [
        {
            "year": law["year"],
            "title": cells.title(law),
            "facts": [*cells.facts(law, elected=elected).values()],
            "law": cells.law_cells(law),
            **{name: rows.get(law["year"], []) for name, rows in columns.items()},
        }
        for law in laws
    ]
    lead = {name: [row[:2] for row in table.rows] for name, table in tables.items()}
    text = _as_json({"years": shown, "lead": lead, "elections": held})
    if len(text) > most:
        return None
    law = laws[-1]
    return Embedded(
        label=run.label,
        note=_note(run, detail, len(held), left_out),
        title=cells.title(law),
        facts=cells.facts(law, elected=elected),
        law=Table("The law", cells.LAW_HEAD, cells.law_cells(law), frozenset({1})),
        tables=tables,
        election=held[-1] if held else None,
        candidates=_candidates(held[-1] if held else None),
        ballots=Table(
            f"As cast; at most {MOST_VOTES} voters", cells.BALLOT_HEAD, held[-1].get("ballots", []) if held else []
        ),
        json=text,
        count=len(shown),
        last=last,
    )


def _tables(
    reader: Reader, run: LoadedRun, years: Years, *, single: bool
) -> tuple[dict[str, Table], dict[str, dict[int, list[list[str]]]]]:
    """The tables of the last year, and by name and year the cells of each but the first two, which stay the same."""
    tables: dict[str, Table] = {}
    columns: dict[str, dict[int, list[list[str]]]] = {}

    def add(name: str, caption: str, head: Sequence[str], numeric: range, rows: dict[int, list[list[str]]]) -> None:
        tables[name] = Table(caption, head, rows[years.last], frozenset(numeric))
        columns[name] = {year: [row[2:] for row in those] for year, those in rows.items()}

    number = run.config.num_agents
    if not single or number >= FEW:
        found = years.read(reader, cells.TENTHS)
        judged = any(row["satisfied"] is not None for row in found)
        head = [*cells.TENTH_HEAD, *(["satisfied"] if judged else [])]
        rows = _by_year(found, lambda row: cells.tenth_cells(row, judged=judged))
        add("tenths", "Means by tenth of wages, the lowest first", head, range(1, len(head)), rows)
    if single:
        ranks = even_ranks(number, MOST_WORKERS)
        rows = _by_year(years.read(reader, cells.WORKERS, ranks), cells.worker_cells)
        some = "Workers by wage" if len(ranks) == number else f"{len(ranks)} of {number:,} workers, evenly by wage"
        add("people", f"{some}, the lowest first", cells.PEOPLE_HEAD, range(2, 9), rows)
    return tables, columns


def _by_year(rows: Sequence[Row], as_cells: Any) -> dict[int, list[list[str]]]:
    return {year: [as_cells(row) for row in those] for year, those in groupby(rows, lambda row: int(row["year"]))}


def _elections(reader: Reader, run: LoadedRun, *, ballots: bool, most: int) -> tuple[list[dict[str, Any]], int]:
    """The latest elections that fit in `most` bytes, the newest last, and the number of those left out."""
    years = Years(run.run_id, 0, run.years - 1)
    found = groupby(years.read(reader, cells.CANDIDATES), lambda row: int(row["year"]))
    standing = {year: [*those] for year, those in found}
    votes = _by_year(years.read(reader, cells.VOTES, MOST_VOTES), cells.ballot_cells) if ballots and standing else {}
    kept: list[dict[str, Any]] = []
    for year, rows in reversed(standing.items()):
        one = {
            "year": year,
            "title": f"Election of year {year}",
            "note": cells.turnout(rows),
            "candidates": [cells.candidate_cells(row) for row in rows],
            "won": [i for i, row in enumerate(rows) if row["elected"]],
            **({"ballots": votes[year]} if year in votes else {}),
        }
        most -= len(_as_json(one)) + 1
        if most < 0:
            break
        kept.append(one)
    return kept[::-1], len(standing) - len(kept)


def _candidates(election: dict[str, Any] | None) -> Table:
    rows = election["candidates"] if election else []
    won = election["won"] if election else []
    marked = frozenset((i, j) for i in won for j in range(len(cells.CANDIDATE_HEAD)))
    return Table("Candidates", cells.CANDIDATE_HEAD, rows, frozenset({2, 3, 4}), marked)


def _note(run: LoadedRun, detail: Detail, elections: int, left_out: int) -> str:
    """Which years and elections the page holds."""
    larger = f"more would exceed the {PAGE_BYTES // 1_000_000} MB of years that a page holds"
    if detail.workers:
        return ""
    held = (
        f"Every {detail.step}th year" if detail.step > 2 else "Every second year" if detail.step == 2 else "Every year"
    )
    what = f"{held} up to the last by tenths of wages, without single workers{' and ballots' if elections else ''}"
    only = f"; the latest {elections:,} of {elections + left_out:,} elections" if left_out else ""
    return f"{what}{only}: {larger}. llm-economist explore shows them all."


def _as_json(value: Any) -> str:
    """JSON in ASCII that no HTML parser takes for a tag, a comment or an entity."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
