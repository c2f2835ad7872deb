"""Figures show what is stored, look alike, and come out as files ready to print."""

from __future__ import annotations

import doctest
import json
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import altair as alt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.runs.three_runs import BOUNDED, DB, DEMOCRATIC, PEOPLE, RATIONAL, TAX_YEAR, YEARS, Stored

from evals.figures import decisions, schedules, style
from evals.figures.catalog import FIGURES, PAGE, PHONE
from evals.output import number_format
from evals.policies.loaded_run import LoadedRun, load
from evals.report.command import svg
from evals.run.summary import start_reached_best
from pipeline.economy.baselines import BASELINES
from pipeline.economy.planner_share import planner_share
from pipeline.store.columns import Reader
from pipeline.store.reader import ReadOnlyStore

ELSEWHERE = {"satisfaction": RATIONAL, "satisfaction_over_years": RATIONAL, "elections": BOUNDED}
"""Figures that a run has nothing for."""

SELDOM = "inverse_weights"
"""A figure that few laws have; test_public_finance_figures.py draws it."""


def drawn(name: str, reader: Reader, *runs: LoadedRun) -> dict[str, Any]:
    """The figure as Vega-Lite."""
    drawing = FIGURES[name].prepare(reader, runs)
    assert drawing is not None
    return style.framed(drawing(FIGURES[name].desk(len(runs))))


def of(name: str, stored: Stored, run: str) -> dict[str, Any]:
    return drawn(name, stored.reader, stored.runs[run])


def one(stored: Stored, query: str) -> dict[str, Any]:
    (row,) = stored.reader.rows(query)
    return row


def rows(spec: dict[str, Any], *columns: str) -> list[dict[str, Any]]:
    """All rows of its data that have these columns."""
    return [row for data in spec["datasets"].values() for row in data if set(columns) <= set(row)]


# -- what they show --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_area_over_a_lorenz_curve_is_the_gini_that_is_stored(stored: Stored) -> None:
    ginis = one(stored, f"select gini_income, gini from years where run_id = 1 and year = {YEARS - 1}")
    curves = style.grouped(rows(of("lorenz", stored, BOUNDED), "curve"), lambda row: row["curve"])
    for (name, points), gini in zip(curves, ginis.values(), strict=True):
        area = sum((b["people"] - a["people"]) * (a["held"] + b["held"]) / 2 for a, b in pairwise(points)) / 100**2
        assert 1 - 2 * area == pytest.approx(gini, abs=1e-4)
        assert name.endswith(f"Gini {gini:.3f}")


def test_a_lorenz_curve_of_many_people_is_thinned_and_still_ends_with_all_income(cli: CommandLine) -> None:
    nobody_asked = ("--worker-type", "FIXED", "--planner-type", "FREE_MARKET")
    cli("run", "--num-agents", "450", "--max-timesteps", "1", *nobody_asked, "--db", "many.duckdb")
    with ReadOnlyStore("many.duckdb") as reader:
        spec = drawn("lorenz", reader, *load(reader, ["1"]))
    for _, points in style.grouped(rows(spec, "curve"), lambda row: row["curve"]):
        assert 50 < len(points) < 110
        assert (points[-1]["people"], points[-1]["held"]) == (100, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "panels"), [("hours", 1), ("income", 2)])
def test_the_steps_of_a_distribution_add_to_all_workers(name: str, panels: int, stored: Stored) -> None:
    shares = [row["share"] for row in rows(of(name, stored, BOUNDED), "share")]
    assert sum(shares) == pytest.approx(100 * 2 * panels, abs=0.01)  # first and last tax year


@pytest.mark.slow
def test_the_schedule_ends_with_the_rates_in_force(stored: Stored) -> None:
    last = one(stored, f"select rates from years where run_id = 1 and year = {YEARS - 1}")
    spec = of("schedule", stored, BOUNDED)
    for bracket, panel in zip(last["rates"], spec["concat"], strict=True):
        (rates,) = [
            data
            for layer in panel["layer"]
            if "data" in layer and "run" in (data := spec["datasets"][layer["data"]["name"]])[0]
        ]
        assert (rates[-1]["year"], rates[-1]["rate"]) == (YEARS, bracket)


def test_a_law_on_other_brackets_than_those_of_oracle_is_drawn_without_it(cli: CommandLine) -> None:
    nobody_asked = ("--worker-type", "FIXED", "--planner-type", "US_FED")
    cli("run", "--num-agents", "5", "--max-timesteps", "2", *nobody_asked, "--db", "federal.duckdb")
    with ReadOnlyStore("federal.duckdb") as reader:
        (run,) = load(reader, ["1"])
        spec = drawn("schedule", reader, run)
    assert len(spec["concat"]) == len(run.world.schedule.rates) > len(run.oracle.schedule.rates)
    assert not [row for row in rows(spec, "text") if "ORACLE" in row["text"]]


def test_every_planner_without_a_model_is_a_line_and_the_ceiling_is_the_highest(stored: Stored) -> None:
    spec = of("welfare", stored, BOUNDED)
    labels = [row for row in rows(spec, "text")]
    named = {name for row in labels for name in re.findall(r"[A-Z_]{4,}", row["text"])}
    assert named == set(BASELINES) - {"SAEZ_2002"}, "SAEZ_2002 is for runs with fixed costs of work"
    (ceiling,) = [row["value"] for row in labels if re.search(r"ORACLE(?!_)", row["text"])]
    judged = [row["welfare"] for row in rows(spec, "kind") if row["kind"] == "if every worker best-responded"]
    assert len(judged) == YEARS
    assert ceiling >= max(row["value"] for row in labels)
    assert ceiling >= max(judged) - 1e-6


def test_the_share_of_gain_agrees_with_the_summary_and_the_years(stored: Stored) -> None:
    for run in stored.runs.values():
        last = one(stored, f"select arg_max(welfare_best_response, year) as w from years where run_id = {run.run_id}")
        start, reached, best = start_reached_best(run.world)
        assert run.reached == pytest.approx(last["w"], rel=1e-5)
        assert (run.start.welfare, run.reached, run.oracle.welfare) == (start, reached, best)
        assert run.share in (None, planner_share(start, reached, best))
    assert stored.runs[RATIONAL].share is not None


def test_elections_are_those_of_the_votes(stored: Stored) -> None:
    won = stored.reader.rows("select year, vote_share, candidate from elections where elected order by year")
    shown = rows(of("elections", stored, DEMOCRATIC), "turnout")
    assert [(row["year"], row["candidate"]) for row in shown] == [(row["year"], row["candidate"]) for row in won]
    assert [row["won"] for row in shown] == pytest.approx([100 * row["vote_share"] for row in won], rel=1e-4)


def test_regret_by_wage_averages_to_the_regret_of_the_tax_year(stored: Stored) -> None:
    found = rows(of("regret_by_wage", stored, RATIONAL), "tenth")
    shown = [row["regret"] for row in found if row["when"] == "last tax year"]
    mean = one(stored, f"select avg(regret) as regret from decisions where run_id = 3 and year >= {YEARS - TAX_YEAR}")
    assert sum(shown) / len(shown) == pytest.approx(mean["regret"], rel=1e-3)


def test_satisfaction_is_counted_by_people_and_verdicts(stored: Stored) -> None:
    mean = one(stored, "select avg(satisfied::int) as share from decisions where run_id = 1")
    found = rows(of("satisfaction", stored, BOUNDED), "group")
    people = [int(row["value"].split(" of ")[1].split()[0]) for row in found]
    assert sum(people) == PEOPLE
    satisfied = sum(row["share"] * count for row, count in zip(found, people, strict=True))
    assert satisfied / PEOPLE == pytest.approx(100 * mean["share"], rel=1e-3)


def test_a_run_of_one_tax_year_shows_only_that_one(cli: CommandLine) -> None:
    cli("run", "--num-agents", "3", "--max-timesteps", "2", "--llm", "rules", "--db", "short.duckdb")
    with ReadOnlyStore("short.duckdb") as reader:
        (run,) = load(reader, ["1"])
        assert run.tax_years == [(0, 1)]
        assert {row["when"] for row in rows(drawn("hours", reader, run), "share")} == {"the only tax year"}


@pytest.mark.parametrize("module", [style, schedules, decisions, number_format], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


# -- how they look ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", [name for name in FIGURES if name != SELDOM])
def test_a_figure_is_valid_fits_and_has_only_our_colours(name: str, stored: Stored) -> None:
    figure, has = FIGURES[name], [run for key, run in stored.runs.items() if key != ELSEWHERE.get(name)][:2]
    drawing = figure.prepare(stored.reader, has)
    assert drawing is not None
    alt.Chart.from_dict(json.loads(json.dumps(style.framed(drawing(figure.phone)))))  # raises where it is no Vega-Lite
    for size in (figure.phone, figure.desk(len(has))):
        text = svg(drawing, size)
        (width,) = re.findall(r'^<svg [^>]*\bwidth="(\d+)"', text)
        assert int(width) <= (PHONE if size.narrow else PAGE)
        colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', text))
        assert colours <= {*style.DARK, "none", "transparent"}, "a dark page knows no other ones"
        assert "<script" not in text
        assert not re.search(r'\b(?:style|id|href|on\w+)="', text), "forbidden, or shared with others"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_figures_without_data_are_left_out(name: str, cli: CommandLine, stored: Stored) -> None:
    assert FIGURES[name].prepare(stored.reader, [stored.runs[ELSEWHERE[name]]]) is None
    result = cli("figure", name, ELSEWHERE[name], "-o", "x.svg", "--db", DB)
    assert (result.code, Path("x.svg").exists()) == (2, False)
    assert FIGURES[name].absent in result.err


def luminance(colour: str) -> float:
    """Relative luminance as in WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_is_legible_on_light_and_dark_backgrounds() -> None:
    for colour in (style.INK, style.MUTED):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5
        assert (luminance(style.DARK[colour]) + 0.05) / (luminance("#11171d") + 0.05) >= 4.5


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=8),
    st.floats(1, 12),
)
def test_labels_keep_their_order_and_their_distance(wanted: list[float], least: float) -> None:
    places = style.spread(wanted, least=least, low=0, high=100)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in places)
    ordered = [place for _, place in sorted(zip(wanted, places, strict=True))]
    assert ordered == sorted(ordered)
    if (len(wanted) - 1) * least <= 100:
        assert all(b - a >= least - 1e-9 for a, b in pairwise(sorted(places)))


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_figure_is_the_same_bytes_each_time_and_in_inches(cli: CommandLine) -> None:
    for name in ("a.pdf", "b.svg", "c.png", "d.svg", "e.json"):
        result = cli("figure", "hours", BOUNDED, "-o", name, "--db", DB)
        assert result.code == 0, result.err
        assert result.out.startswith(f"{name}: ")
    assert Path("b.svg").read_bytes() == Path("d.svg").read_bytes()
    width, _ = re.search(rb"MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", Path("a.pdf").read_bytes()).groups()
    assert 4.0 < float(width) / 72 <= 4.5
    assert 4.0 < int.from_bytes(Path("c.png").read_bytes()[16:20]) / 300 <= 4.5
    assert Path("d.svg").read_text().startswith("<svg")
    assert "vega-lite" in json.loads(Path("e.json").read_text())["$schema"]


@pytest.mark.usefixtures("here")
def test_a_figure_can_be_made_wider(cli: CommandLine) -> None:
    assert cli("figure", "hours", BOUNDED, "-o", "a.svg", "--width", "8", "--db", DB).code == 0
    assert 7.5 < float(re.search(r'width="(\d+)"', Path("a.svg").read_text())[1]) / 96 <= 8


def test_the_list_names_every_figure_with_one_sentence(cli: CommandLine) -> None:
    listed = cli("figure", "--list").out
    for name, figure in FIGURES.items():
        assert f"{name}\n  {figure.caption}" in listed
        assert figure.caption.endswith(".")
        assert not re.search(r"\. [A-Z]", figure.caption), "one sentence"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["figure"], "--list"),
        (["figure", "hours", "1"], "-o lorenz.pdf"),
        (["figure", "hour", "1", "-o", "a.pdf"], "did you mean hours?"),
        (["figure", "hours", "9", "-o", "a.pdf"], "no run '9' in traces.duckdb; it has: 3, 2, 1"),
        (["figure", "hours", "1", "-o", "a.gif"], "expected a file that ends in .pdf, .svg, .png, .json"),
        (["figure", "hours", "1", "-o", "no/a.pdf"], "cannot be written"),
        (["report", "1", "-o", DB], "is the database itself"),
        (["report", "1", "unknown"], "no run 'unknown'"),
    ],
)
def test_bad_input_gets_one_line(cli: CommandLine, args: list[str], said: str) -> None:
    result = cli(*args, "--db", DB)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1
