"""SQL: saved queries with their parameters as fields, and free SQL; the result as a table, a chart and a file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import marimo as mo

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Source
from evals.figures import answers
from evals.output.formats import write_csv, write_parquet
from evals.output.number_format import plain
from evals.output.tables import Table
from evals.sql import saved_queries
from evals.sql.saved_queries import LATEST_RUN, Parameter, Question
from pipeline.store.query import Answer, ask

OWN = "your own SQL"
ROWS = 200
"""Rows of the table; the file has all."""

MOST_ROWS = 100_000
"""Rows of the file."""

LABELS = {"csv": "CSV", "parquet": "Parquet"}
SECONDS = 30.0
EXAMPLE = "SELECT year, avg(labor) AS hours, avg(regret) AS regret\nFROM decisions\nGROUP BY year ORDER BY year"


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The database and the question."""
    paths = {f"{elements.word(Path(path).name)} ({i})": path for i, path in enumerate(source.paths, 1)}
    names = [OWN, *saved_queries.questions()]
    question = asked.get("question") if asked.get("question") in names else names[0]
    return {
        "db": mo.ui.dropdown(paths, value=next(iter(paths)), label="database"),
        "question": mo.ui.dropdown(names, value=question, label="question", searchable=True),
    }


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The form: the parameters of a saved query, or a text."""
    if values["question"] == OWN:
        form: Any = mo.ui.text_area(value=EXAMPLE, label="one SELECT", rows=6, full_width=True)
    else:
        given = saved_queries.question(values["question"]).parameters
        form = mo.ui.dictionary({one.name: mo.ui.text(value=one.default, label=_label(one)) for one in given})
    return form.form(submit_button_label="Ask", bordered=False)


def _label(parameter: Parameter) -> str:
    return parameter.name + (f" ({parameter.help})" if parameter.help else "")


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Any:
    """The answer. A saved query is asked at once with its defaults, free SQL when it is sent."""
    name = values["question"]
    if name == OWN:
        if picked is None:
            return markup.joined(
                markup.paragraph("Tables and columns: `llm-economist schema`. Only SELECT is possible.")
            )
        question, given = saved_queries.parse("", picked), []
    else:
        question = saved_queries.question(name)
        given = [f"{key}={value}" for key, value in (picked or {}).items() if value != LATEST_RUN]
    bound, lookups = question.bind(given)
    with ask(values["db"], question.sql, bound, lookups=lookups, limit=MOST_ROWS, seconds=SECONDS) as answer:
        head, rows = answer.columns, list(answer.rows())
        text = io.StringIO()
        write_csv(answer, text)
        files = {"csv": text.getvalue().encode(), "parquet": _as_parquet(answer)}
        more = answer.more
    note = " ".join(question.help) + f" {len(rows):,}{'+' if more else ''} rows."
    parts = [markup.paragraph(note), *_picture(question, head, rows), markup.table(_table(head, rows[:ROWS]))]
    if len(rows) > ROWS:
        parts.append(markup.paragraph(f"The first {ROWS} rows; the file has {'the first ' * more}{len(rows):,}."))
    called = name if name != OWN else "answer"
    links = [mo.download(it, filename=f"{called}.{kind}", label=LABELS[kind]) for kind, it in files.items()]
    return mo.vstack([mo.Html(str(markup.joined(*parts))), mo.hstack(links, justify="start")])


def _as_parquet(answer: Answer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answer.parquet"
        write_parquet(answer, file)
        return file.read_bytes()


def _table(head: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Table:
    numeric = frozenset(i for i in range(len(head)) if answers.is_numeric([row[i] for row in rows]))
    cells = [["NULL" if value is None else plain(value) for value in row] for row in rows]
    return Table("", list(head), cells, numeric=numeric)


def _picture(question: Question, head: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Html]:
    """The chart that the query declares, else one guessed from the columns, if the answer has something to draw."""
    chart = question.chart or answers.guessed(head, rows)
    if chart is None:
        return []
    drawing, left_out = answers.drawn(chart, head, rows)
    if drawing is None:
        return []
    height = answers.PANEL_HEIGHT if chart.each else 220
    made = markup.picture(drawing, height=height, label=f"The answer as a chart, {chart}")
    return [made, *([markup.paragraph(f"The chart shows {left_out}.")] if left_out else [])]
