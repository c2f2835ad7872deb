"""Input elements that several pages share. Their labels are constant: the framework reads labels as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.explore.source import Place, Source
from pipeline.errors import UsageError

LABEL = 60
"""Characters of a stored text in a list of choices."""


def word(value: Any) -> str:
    """A stored text for a list of choices or a cell of a clickable table: short, and without marks of any language.

    >>> word("<img src=x> [a](http://b)"), word("parse_error"), word(None)
    ('img src x a http b', 'parse_error', '')
    """
    return " ".join(re.sub(r"[^\w.+-]+", " ", "" if value is None else str(value)[:LABEL]).split())


def run_names(source: Source) -> dict[str, Place]:
    """Every run by the words that a list shows for it. UsageError if there is none."""
    runs = source.runs()
    several = len({place.db for place in runs}) > 1
    names = {
        f"run {place.run_id} {word(row['name'])}" + f" in {word(Path(place.db).name)}" * several: place
        for place, row in runs.items()
    }
    if len(names) < len(runs):  # files of the same name in two folders
        names = {f"{place.run_id}: {word(place.db[-LABEL:])}": place for place in runs}
    if not runs:
        raise UsageError(f"no run in {', '.join(source.databases)} yet; `llm-economist run` plays one")
    return names


def run(source: Source, asked: Mapping[str, Any]) -> Any:
    """A list of runs; first the one in the address, else the first chosen one, else the newest."""
    import marimo as mo

    names = run_names(source)
    number, file = str(asked.get("run", "")), str(asked.get("db", ""))
    wanted = [
        name
        for name, place in names.items()
        if str(place.run_id) == number and (not file or Path(place.db).name == file)
    ]
    wanted += [name for name, place in names.items() if place in source.chosen[:1]]
    return mo.ui.dropdown(names, value=(wanted or list(names))[0], label="run", searchable=True)


def runs(source: Source, *, most: int, fewest: int = 1) -> Any:
    """A list in which several runs can be chosen."""
    import marimo as mo

    names = run_names(source)
    chosen = [name for name, place in names.items() if place in source.chosen]
    chosen = chosen or list(names)[:fewest]
    return mo.ui.multiselect(names, value=chosen[:most], label="runs", max_selections=most)


def clickable(rows: Sequence[Mapping[str, Any]], *, at: int) -> Any:
    """A table in which one row can be chosen, at first row `at`. Its texts must come from `word`: it may show links."""
    import marimo as mo

    return mo.ui.table(
        [dict(row) for row in rows],
        selection="single",
        initial_selection=[at],
        page_size=6,
        show_download=False,
        show_search=False,
        show_column_summaries=False,
        show_data_types=False,
    )


def integer(asked: Mapping[str, Any], name: str, *, among: range, otherwise: int) -> int:
    """A whole number from the address, if it is within `among`."""
    value = str(asked.get(name, ""))
    return int(value) if value.isdecimal() and int(value) in among else otherwise
