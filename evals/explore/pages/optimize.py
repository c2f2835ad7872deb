"""Studies of the prompt optimizer: scores by trial, and each trial's prompt as changes from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import marimo as mo

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Source
from evals.figures import style
from evals.figures.style import BLUE, ORANGE, Chart, Drawing, Size
from evals.output.number_format import MISSING, decimal
from pipeline.errors import UsageError
from pipeline.store.columns import Row

MOST_TEXT = 40_000
"""Characters of a prompt that are compared."""

STUDIES = "SELECT study, status, metric FROM studies WHERE metric <> 'validity' ORDER BY created_at DESC LIMIT 200"

TRIALS = """
SELECT trial, split, round(score, 4) AS score, examples, unanswered, unparsed, calls, cost_usd
FROM optimizer_trials WHERE study = ? ORDER BY trial LIMIT 2000
"""

STUDY = """
SELECT status, role, question, optimizer, metric, strategy, llm, dev_before, dev_after, test_before, test_after,
       test_low, test_high, calls
FROM studies WHERE study = ?
"""

PROMPT = """
SELECT left(prompt, ?) AS prompt, left(program::VARCHAR, 12000) AS program FROM optimizer_trials
WHERE study = ? AND trial = ? LIMIT 1
"""


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The study. UsageError if there is none."""
    studies: dict[str, tuple[str, str]] = {}
    for path in source.paths:
        with source.reading(path) as reader:
            for row in reader.rows(STUDIES):
                name = f"{elements.word(row['study'])} in {elements.word(Path(path).name)} ({len(studies) + 1})"
                studies[name] = (path, row["study"])
    if not studies:
        raise UsageError("no study is stored here; llm-economist optimize makes one")
    return {"study": mo.ui.dropdown(studies, value=next(iter(studies)), label="study", searchable=True)}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The trials; at first the one with the best score."""
    path, study = values["study"]
    with source.reading(path) as reader:
        rows = [{**row, "split": elements.word(row["split"])} for row in reader.rows(TRIALS, [study])]
    if not rows:
        return None
    return elements.clickable(rows, at=max(range(len(rows)), key=lambda i: rows[i]["score"] or 0.0))


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The study's scores, and the prompt of the chosen trial."""
    path, study = values["study"]
    with source.reading(path) as reader:
        rows = reader.rows(TRIALS, [study])
        facts = reader.rows(STUDY, [study])[0]
        chosen = int(picked[0]["trial"]) if picked else rows[0]["trial"] if rows else None
        texts = [
            reader.rows(PROMPT, [MOST_TEXT, study, trial]) for trial in ((rows[0]["trial"], chosen) if rows else ())
        ]
    parts = [markup.facts(_facts(facts))]
    if not rows:
        return markup.joined(*parts, markup.paragraph("No trial yet."))
    (first, *_), (now, *_) = texts
    parts += [
        markup.picture(_scores(rows), height=200, label="Score of each trial"),
        markup.heading(f"Trial {chosen}, changes from trial {rows[0]['trial']}"),
        markup.block("changes", markup.changed(first["prompt"] or "", now["prompt"] or "")),
        markup.block("prompt", now["prompt"]),
        markup.block("instructions and demonstrations", now["program"]),
    ]
    return markup.joined(*parts)


def _facts(study: Row) -> dict[str, str]:
    gain = f"{decimal(study['test_low'], 3)} to {decimal(study['test_high'], 3)}"
    words = {name: str(study[name] or MISSING)[:80] for name in ("status", "role", "question", "optimizer", "metric")}
    return {
        **words,
        "dev before, after": f"{decimal(study['dev_before'], 3)}, {decimal(study['dev_after'], 3)}",
        "test before, after": f"{decimal(study['test_before'], 3)}, {decimal(study['test_after'], 3)}",
        "gain on test, 95 %": gain if study["test_low"] is not None else MISSING,
        "calls": f"{study['calls'] or 0:,}",
    }


def _scores(rows: Sequence[Row]) -> Drawing:
    points = [{"trial": row["trial"], "score": row["score"], "split": str(row["split"])[:20]} for row in rows]
    names = sorted({point["split"] for point in points})[:6]

    def draw(size: Size) -> Chart:
        colours = style.palette(names, (BLUE, ORANGE, *style.RUNS[2:]))
        return (
            alt.Chart(style.data(points))
            .mark_point(filled=True, size=50, opacity=1)
            .encode(
                x=alt.X("trial:Q", axis=style.x_axis("trial", tickMinStep=1, format="d")),
                y=alt.Y("score:Q", axis=style.y_axis("score"), scale=alt.Scale(zero=False)),
                color=alt.Color("split:N", scale=colours, legend=style.top_legend(names, symbol="circle")),
            )
            .properties(width=size.inner(1), height=size.height)
        )

    return draw
