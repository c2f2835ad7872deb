"""Every saved query declares a chart that its answer can be drawn as; a chart of hostile text is only text."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from support.command_line import CommandLine
from support.runs import three_runs as three
from support.runs.three_runs import BOUNDED, DB, DEMOCRATIC, RATIONAL

from evals.figures import answers, style
from evals.figures.catalog import PHONE
from evals.figures.style import Size
from evals.report.command import svg
from evals.sql import charts, saved_queries
from evals.sql.charts import DeclaredChart
from pipeline.errors import UsageError
from pipeline.store.query import Result, ask

NAMES = sorted(saved_queries.questions())
HOSTILE = "</svg><script>alert(1)</script>\x1b[2J **b** \"'>"

NOTHING = {"retries", "survey"}
"""`rules` does not fail, and these runs have no survey."""


def answered(name: str) -> Result:
    question = saved_queries.question(name)
    has_run = any(parameter.name == "run_id" for parameter in question.parameters)
    run = RATIONAL if name == "elasticity" else DEMOCRATIC
    bound, lookups = question.bind([f"run_id={run}"] if has_run else [])
    with ask(DB, question.sql, bound, lookups=lookups) as answer:
        return Result(answer.columns, [*answer.rows()], answer.more)


def spec(drawing: style.Drawing | None, size: Size) -> dict[str, Any]:
    assert drawing is not None
    return style.framed(drawing(size))


def points(drawing: style.Drawing | None) -> list[dict[str, Any]]:
    return [row for data in spec(drawing, Size(624, 240))["datasets"].values() for row in data]


@pytest.mark.parametrize("name", NAMES)
def test_every_saved_query_declares_a_chart(name: str) -> None:
    question = saved_queries.questions()[name]
    assert question.chart is not None
    assert not any("chart:" in line for line in question.help)


@pytest.mark.slow
@pytest.mark.first_cases(2)
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["votes_by_income", *(name for name in NAMES if name != "votes_by_income")])
def test_the_answer_has_the_columns_of_its_chart_and_is_drawn(name: str) -> None:
    chart, answer = saved_queries.question(name).chart, answered(name)
    assert chart is not None
    drawing, left_out = answers.drawn(chart, answer.columns, answer.rows)
    assert left_out == ""
    assert (drawing is None) == (name in NOTHING)
    if drawing is None:
        return
    text = svg(drawing, Size(PHONE, 150))
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', text)) <= {*style.DARK, "none", "transparent"}
    (width,) = re.findall(r'^<svg [^>]*\bwidth="(\d+)"', text)
    assert int(width) <= PHONE
    numbers = [row[answer.columns.index(y)] for row in answer.rows for y in chart.y]
    drawn = sorted(one["y"] for one in points(drawing))
    assert drawn == pytest.approx(sorted(float(f"{one:.6g}") for one in numbers if one is not None))


def test_each_series_and_each_panel_has_its_rows() -> None:
    head = ["question", "people", "answer", "share"]
    rows = [(q, p, a, 0.5) for q in ("fair", "more") for p in ("third 1", "third 2") for a in ("yes", "no")]
    chart = charts.parse("stack x=people y=share by=answer each=question (share of the answers)")
    drawing, left_out = answers.drawn(chart, head, rows)
    assert left_out == ""
    made = spec(drawing, Size(900, 150))
    alt.Chart.from_dict(json.loads(json.dumps(made)))  # raises where it is no Vega-Lite
    assert [panel["title"] for panel in made["concat"]] == ["question fair", "question more"]
    assert {(one["panel"], one["x"], one["series"]) for one in points(drawing)} == {
        (f"question {q}", p, a) for q, p, a, _ in rows
    }


def test_null_and_infinite_numbers_are_left_out_and_a_name_can_be_null() -> None:
    rows = [("a", 1.0), (None, 2.0), ("b", None), ("c", float("nan")), ("d", float("inf"))]
    found = points(answers.drawn(DeclaredChart("bar", "who", ("n",)), ["who", "n"], rows)[0])
    assert [(one["x"], one["y"]) for one in found] == [("a", 1), ("none", 2)]
    assert answers.drawn(DeclaredChart("bar", "who", ("n",)), ["who", "n"], rows[2:]) == (None, "")


def test_more_panels_series_or_rows_than_can_be_distinguished_are_named() -> None:
    many = [(i, i, f"s{i}") for i in range(30)]
    drawing, left_out = answers.drawn(charts.parse("bar x=a y=b each=c"), ["a", "b", "c"], many)
    assert len(spec(drawing, Size(900, 150))["concat"]) == answers.MOST_PANELS
    assert left_out == "12 of 30 panels"
    series = {
        one["series"] for one in points(answers.drawn(charts.parse("line x=a y=b by=c"), ["a", "b", "c"], many)[0])
    }
    assert len(series) == len(answers.COLOURS)
    assert answers.OTHERS in series
    long = [(i, i) for i in range(answers.MOST_ROWS + 1)]
    assert answers.drawn(charts.parse("line x=a y=b"), ["a", "b"], long)[1] == "the first 5,000 rows"


def test_hostile_text_in_names_values_and_columns_is_only_text() -> None:
    head = ["x", HOSTILE, "by"]
    rows = [(HOSTILE, 1, HOSTILE), ("b", 2, "datum.x"), ("c", 3, "'; alert(1)")]
    for kind in charts.KINDS:
        text = svg(answers.drawn(DeclaredChart(kind, "x", (HOSTILE,), "by", ("by",)), head, rows)[0], Size(600, 200))
        assert "<script" not in text
        assert "\x1b" not in text
        assert text.count("</svg>") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pie x=a y=b", "pie x=a y=b: expected -- chart: line|bar|stack|point"),
        ("line x=a", "expected"),
        ("line x=a y=", "expected"),
        ("line x=a y=,", "expected"),
        ("line x=a y=b z=c", "expected"),
        ("line x=a x=b y=c", "x"),
        ("line x=a y=b (dollars", "expected"),
        ("", "expected"),
    ],
)
def test_a_wrong_declaration_is_one_line(line: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        saved_queries.parse("", f"-- A question?\n-- chart: {line}\nSELECT 1")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_examples_in_docstrings_hold() -> None:
    failed, tried = doctest.testmod(charts)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_query_is_drawn_from_the_command_line(cli: CommandLine) -> None:
    own = "\n-- chart: line x=year y=mean_labor by=run_id (hours)\nSELECT run_id, year, mean_labor FROM years"
    guessed = "SELECT year, welfare FROM years WHERE run_id = 3 ORDER BY year"
    for query, name in (("learning-curve", "a.pdf"), (own, "b.json"), (guessed, "c.svg"), ("learning-curve", "d.pdf")):
        result = cli("sql", query, "--figure", name, "--db", DB)
        assert result.code == 0, result.err
        assert result.out.startswith(f"{name}: ")
        assert result.err == ""
    assert Path("a.pdf").read_bytes() == Path("d.pdf").read_bytes()
    drawn = [row for data in json.loads(Path("b.json").read_text())["datasets"].values() for row in data]
    assert len(drawn) == 3 * three.YEARS
    assert {row["series"] for row in drawn} == {BOUNDED, DEMOCRATIC, RATIONAL}
    cut = cli("sql", guessed, "--figure", "e.svg", "--limit", "4", "--db", DB)
    assert (cut.code, cut.err) == (0, "the chart shows the first 4 rows\n")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["survey", "--figure", "a.svg"], "nothing to draw: no row of the answer has a number in share"),
        (
            ["select name from runs", "--figure", "a.svg"],
            "no shape to guess a chart from; begin the query with -- chart:",
        ),
        (["\n-- chart: line x=a y=b\nselect 1 as a", "--figure", "a.svg"], "no column 'b' in the answer; it has: a"),
        (["planners", "--figure", "a.gif"], "--figure a.gif: expected a file that ends in .pdf, .svg, .png, .json"),
        (["planners", "--figure", DB], "--figure"),
        (["planners", "--figure", "a.svg", "--json"], "--figure a.svg draws the result; ask for --output"),
        (["planners", "--figure", "a.svg", "--output", "b.csv"], "--figure a.svg draws the result"),
    ],
)
def test_bad_input_gets_one_line_and_no_file(cli: CommandLine, args: list[str], said: str) -> None:
    before = Path(DB).read_bytes()
    result = cli("sql", *args, "--db", DB)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1
    assert not Path("a.svg").exists()
    assert Path(DB).read_bytes() == before


def test_the_list_says_what_is_drawn(cli: CommandLine) -> None:
    assert (
        "--figure FILE.svg draws a line: mean_regret, median_regret over year_of_tax_year" in cli("sql", "--list").out
    )
    listed = {one["name"]: one["chart"] for one in json.loads(cli("sql", "--list", "--json").out)}
    assert listed["transfers"]["y"] == ["poor", "middle", "rich"]
