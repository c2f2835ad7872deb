"""A year: the law, who works, earns, pays and gets what, and the election."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import marimo as mo

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from evals.output.tables import Table
from evals.report import year_cells as cells
from evals.report.tables import even_ranks
from evals.report.year_cells import MOST_VOTES, MOST_WORKERS, Years
from pipeline.store.columns import Reader, Row


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run, and a button that starts and stops the years."""
    play = mo.ui.button(value=False, on_click=lambda playing: not playing, label="play / pause")
    return {"run": elements.run(source, asked), "play": play}


def clock(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> Any:
    """Ticks while the years play, which start again after the last one."""
    if not values["play"]:
        return None
    years = _years(source, values)
    if _year(asked, years) == years - 1:
        asked["year"] = 0
    return mo.ui.refresh(options=["1s", "2s", "5s"], default_interval="1s", label="a year every")


def advance(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> None:
    """The next year, up to the last one."""
    years = _years(source, values)
    asked["year"] = min(_year(asked, years) + 1, max(years - 1, 0))


def _years(source: Source, values: Mapping[str, Any]) -> int:
    return int(source.runs()[values["run"]]["years"])


def _year(asked: Mapping[str, Any], years: int) -> int:
    return elements.integer(asked, "year", among=range(years), otherwise=years - 1)


def picker(source: Source, values: Mapping[str, Any], asked: dict[str, Any]) -> Any:
    """A slider over the years played, at the year in the address or the last one."""
    years = _years(source, values)
    if not years:
        return None
    if years == 1:
        return mo.ui.slider(0, 1, value=0, label="year", show_value=True)

    def remember(year: float | None) -> None:
        asked["year"] = int(year or 0)

    return mo.ui.slider(
        *(0, years - 1),
        step=1,
        value=_year(asked, years),
        label="year",
        show_value=True,
        full_width=True,
        on_change=remember,
    )


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The year in figures and tables."""
    place: Place = values["run"]
    if picked is None:
        return markup.joined(markup.paragraph(f"Run {place.run_id} has no complete year yet."))
    one = Years(place.run_id, int(picked), int(picked))
    with source.reading(place.db) as reader:
        laws = one.read(reader, cells.LAWS)
        if not laws:
            return markup.joined(markup.paragraph(f"Run {place.run_id} has no year {one.last}."))
        tenths = one.read(reader, cells.TENTHS)
        workers = sum(row["workers"] for row in tenths)
        people = one.read(reader, cells.WORKERS, even_ranks(workers, MOST_WORKERS))
        election = _election(reader, one)
    law = laws[0]
    return markup.joined(
        markup.heading(cells.title(law)),
        markup.facts(cells.facts(law, elected=law["leader"] is not None)),
        markup.table(Table("", cells.LAW_HEAD, cells.law_cells(law), numeric=frozenset({1}))),
        *election,
        markup.heading("By tenth of wages"),
        markup.table(_tenths(tenths)),
        markup.heading(f"{len(people)} of {workers:,} workers by wage"),
        markup.table(_people(people, one)),
    )


def _election(reader: Reader, one: Years) -> list[Html]:
    rows = one.read(reader, cells.CANDIDATES)
    if not rows:
        return []
    marked = frozenset((i, j) for i, row in enumerate(rows) if row["elected"] for j in range(len(cells.CANDIDATE_HEAD)))
    shown = [cells.candidate_cells(row) for row in rows]
    made = markup.table(Table(cells.turnout(rows), cells.CANDIDATE_HEAD, shown, frozenset({2, 3, 4}), marked))
    return [markup.heading("Election"), made, *_votes(reader, one)]


def _votes(reader: Reader, one: Years) -> list[Html]:
    """The ballots, folded; none under a rule without a vote."""
    rows = one.read(reader, cells.VOTES, MOST_VOTES + 1)
    if not rows:
        return []
    shown = [
        [_link(first, one, row["voter"]), *rest]
        for row in rows[:MOST_VOTES]
        for first, *rest in [cells.ballot_cells(row)]
    ]
    caption = f"The first {MOST_VOTES} voters. " if len(rows) > MOST_VOTES else ""
    return [markup.folded("Ballots", markup.table(Table(f"{caption}As cast.", cells.BALLOT_HEAD, shown)))]


def _link(words: str, one: Years, worker: int) -> Html:
    return markup.link(words, page="Worker", run=one.run_id, year=one.last, worker=worker)


def _tenths(rows: Sequence[Row]) -> Table:
    judged = any(row["satisfied"] is not None for row in rows)
    head = [*cells.TENTH_HEAD, *(["satisfied"] if judged else [])]
    shown = [cells.tenth_cells(row, judged=judged) for row in rows]
    return Table("Means; the lowest wages first.", head, shown, numeric=frozenset(range(1, len(head))))


def _people(rows: Sequence[Row], one: Years) -> Table:
    shown = [[_link(first, one, row["agent"]), *rest] for row in rows for first, *rest in [cells.worker_cells(row)]]
    return Table("A click on a worker opens its decision.", cells.PEOPLE_HEAD, shown, numeric=frozenset(range(2, 9)))
