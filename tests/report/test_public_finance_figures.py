"""The figures of public finance show what `incidence` and `elasticity` say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.command_line import CommandLine

from evals.figures import style
from evals.figures.catalog import FIGURES
from evals.policies.loaded_run import load
from evals.report.command import svg
from pipeline.store.reader import ReadOnlyStore

DB = "--db=law.duckdb"
LAW = ("--worker-type=FIXED", "--max-timesteps=1", "--num-agents=200", "--seed=1", DB)


def drawn(name: str, *runs: str) -> list[dict[str, Any]]:
    """All rows of the figure's data; its two sizes are drawn, too."""
    with ReadOnlyStore("law.duckdb") as reader:
        drawing = FIGURES[name].prepare(reader, load(reader, runs))
    assert drawing is not None
    for size in (FIGURES[name].phone, FIGURES[name].desk(len(runs))):
        text = svg(drawing, size)
        (width,) = re.findall(r'^<svg [^>]*\bwidth="(\d+)"', text)
        assert int(width) <= size.width
        colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', text))
        assert colours <= {*style.DARK, "none", "transparent"}
    spec = style.framed(drawing(FIGURES[name].desk(len(runs))))
    return [row for data in spec["datasets"].values() for row in data]


def having(rows: Sequence[dict[str, Any]], *columns: str) -> list[dict[str, Any]]:
    return [row for row in rows if set(columns) <= set(row)]


@pytest.mark.slow
def test_curve_weights_and_mvpf_are_those_of_incidence(cli: CommandLine) -> None:
    assert cli("run", *LAW, "--law=us-2024-single").code == 0
    told = json.loads(cli("incidence", "1", "--json", DB).out)
    curve = having(drawn("laffer", "1"), "rate", "revenue")
    assert {"rate": told["laffer"]["peak_rate"], "revenue": pytest.approx(told["laffer"]["peak_revenue"])} in curve
    stored = [one["revenue"] for one in told["laffer"]["curve"]]
    assert [row["revenue"] for row in curve[:101]] == pytest.approx(stored, rel=1e-5)
    weights = [row["weight"] for row in having(drawn("inverse_weights", "1"), "decile")]
    assert weights == pytest.approx(told["weights_by_decile"], rel=1e-5)
    assert np.mean(weights) == pytest.approx(1, rel=1e-5)
    shown = [row["shown"] for row in having(drawn("mvpf", "1"), "kind", "shown")]
    said = [bracket[name] for bracket in told["brackets"] for name in ("mvpf", "mvpf_one_point")]
    assert shown == pytest.approx([value for value in said if value is not None], rel=1e-5)


def test_an_infinite_mvpf_is_a_triangle_at_the_top_and_such_a_law_has_no_weights(cli: CommandLine) -> None:
    assert cli("run", *LAW, "--rates=95/95/95").code == 0
    rows = having(drawn("mvpf", "1"), "kind", "shown")
    assert {(row["shown"], row["beyond"]) for row in rows} == {(4.0, "True")}
    done = cli("figure", "inverse-weights", "1", "-o", "a.svg", DB)
    assert (done.code, FIGURES["inverse_weights"].absent in done.err) == (2, True)


@pytest.mark.slow
def test_the_slope_of_the_dots_is_the_elasticity_that_the_command_measures(cli: CommandLine) -> None:
    run = ("--llm=rules", "--num-agents=12", "--max-timesteps=12", "--two-timescale=2", "--seed=1", "--adapter=compact")
    assert cli("run", *run, DB).code == 0
    told = json.loads(cli("elasticity", "1", "--json", DB).out)["estimates"]
    (slope,) = (
        one["elasticity"]
        for one in told
        if (one["years"], one["estimator"]) == ("last year of each law", "instrumented")
    )
    rows = drawn("elasticity", "1")
    lines = [row for row in having(rows, "slope", "net", "income") if row["slope"].startswith("shown")]
    (left, right) = sorted(lines, key=lambda row: float(row["net"]))
    assert (right["income"] - left["income"]) / (right["net"] - left["net"]) == pytest.approx(slope, rel=1e-4)
    dots = [row for row in having(rows, "net", "income") if "slope" not in row]
    assert 1 < len(dots) <= 20


def test_a_law_that_never_changed_has_no_figure_of_the_elasticity(cli: CommandLine) -> None:
    assert cli("run", *LAW, "--rates=30/30/30").code == 0
    done = cli("figure", "elasticity", "1", "-o", "a.svg", DB)
    assert (done.code, FIGURES["elasticity"].absent in done.err) == (2, True)
