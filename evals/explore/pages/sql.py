"""SQL: saved queries with their parameters as fields, and free SQL; the result as a table, a chart and a file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import marimo as mo

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Source
from evals.figures import style
from evals.figures.style import BLUE, RUNS, Chart, Drawing, Size
from evals.output.formats import write_csv, write_parquet
from evals.output.number_format import plain
from evals.output.tables import Table
from evals.sql import saved_queries
from evals.sql.saved_queries import LATEST_RUN, Parameter
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
    parts = [markup.paragraph(note), *_picture(head, rows), markup.table(_table(head, rows[:ROWS]))]
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
    numeric = frozenset(i for i in range(len(head)) if _is_numeric([row[i] for row in rows]))
    cells = [["NULL" if value is None else plain(value) for value in row] for row in rows]
    return Table("", list(head), cells, numeric=numeric)


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _picture(head: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Html]:
    """A chart of the first column with numbers by the first column, if the answer has such a shape."""
    drawing = _drawing(head, rows)
    return [] if drawing is None else [markup.picture(drawing, height=220, label="The answer as a chart")]


def _drawing(head: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Drawing | None:
    numbers = [i for i in range(len(head)) if _is_numeric([row[i] for row in rows])]
    keys = ("run_id", "year", "agent", "call_id", "decile", "tenth")
    measured = [i for i in numbers if i != 0 and head[i] not in keys]
    if not 2 <= len(rows) <= 5000 or not measured:
        return None
    x = next((i for i in numbers if head[i] == "year"), 0)
    y = measured[0] if measured[0] != x else (measured[1:] or [None])[0]  # type: ignore[list-item]
    if y is None or (x not in numbers and len({row[x] for row in rows}) > 40):
        return None
    points = [{"x": row[x] if x in numbers else plain(row[x])[:40], "y": row[y]} for row in rows if row[y] is not None]
    along = x in numbers and len({row[x] for row in rows}) == len(rows)

    def draw(size: Size) -> Chart:
        chart = alt.Chart(style.data(points))
        mark = chart.mark_line(color=BLUE) if along else chart.mark_point(color=RUNS[0], filled=True, opacity=0.6)
        if x not in numbers:
            mark = chart.mark_bar(color=BLUE)
        kind = "Q" if x in numbers else "N"
        axis = style.x_axis(str(head[x])[:60])
        across = alt.X(f"x:{kind}", axis=axis, sort=None, scale=alt.Scale(zero=False) if kind == "Q" else alt.Undefined)
        up = alt.Y("y:Q", axis=style.y_axis(str(head[y])[:60]), scale=alt.Scale(zero=x not in numbers))
        return mark.encode(x=across, y=up).properties(width=size.inner(1), height=size.height)

    return draw
