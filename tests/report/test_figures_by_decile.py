"""Figures by decile agree with the saved query on hours, and with the incidence of a law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import CommandLine
from support.runs import three_runs as three
from support.runs.three_runs import DB, DEMOCRATIC, PEOPLE, RATIONAL, Stored

from evals.figures import by_decile, style
from evals.figures.catalog import FIGURES
from evals.policies.loaded_run import LoadedRun, load
from evals.sql import saved_queries
from pipeline.economy.incidence import incidence_of_law
from pipeline.store.columns import Reader
from pipeline.store.query import ask
from pipeline.store.reader import ReadOnlyStore


def drawn(drawing: style.Drawing | None, *columns: str) -> list[dict[str, Any]]:
    """The rows of a figure's data that have these columns."""
    assert drawing is not None
    spec = style.framed(drawing(FIGURES["gains"].desk(1)))
    return [row for data in spec["datasets"].values() for row in data if set(columns) <= set(row)]


def gains(reader: Reader, run: LoadedRun, law: str) -> list[float]:
    rows = drawn(by_decile.gains(reader, [run]), "gain", "law")
    return [row["gain"] for row in rows if row["law"].startswith(law)]


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("run", [DEMOCRATIC, RATIONAL])
def test_hours_are_those_of_the_saved_query_for_each_change_of_the_law(run: str, stored: Stored) -> None:
    question = saved_queries.question("hours_by_wage_decile")
    known = by_decile.turns(stored.reader, stored.runs[run])
    assert len(known) >= 2
    for year in (None, *(turn.year for turn in known)):
        given = [f"run_id={run}"] + ([] if year is None else [f"year={year}"])
        bound, lookups = question.bind(given)
        with ask(DB, question.sql, bound, lookups=lookups) as answer:
            expected = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows()]
        found = drawn(by_decile.hours_by_decile(stored.reader, [stored.runs[run]], year), "hours")
        assert len(expected) == PEOPLE
        for after, words in ((False, "before"), (True, "after")):
            those = [row for row in found if row["after"] == after]
            assert [row["hours"] for row in those] == pytest.approx(
                [row[f"hours_{words}"] for row in expected], abs=0.006
            )
            assert [row["rate"] for row in those] == pytest.approx([row[f"rate_{words}"] for row in expected], abs=0.06)
            assert all(row["when"].startswith(words) for row in those)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_year_without_a_change_names_those_with_one(cli: CommandLine, stored: Stored) -> None:
    known = [turn.year for turn in by_decile.turns(stored.reader, stored.runs[RATIONAL])]
    year = next(year for year in range(1, three.YEARS) if year not in known)
    result = cli("figure", "hours_by_decile", RATIONAL, "--year", str(year), "-o", "x.svg", "--db", DB)
    assert (result.code, Path("x.svg").exists()) == (2, False)
    said = f"--year {year}: the law of run 3 did not change then; it changed in {', '.join(map(str, known))}"
    assert result.err == f"error: {said}\n"
    assert cli("figure", "hours-by-decile", RATIONAL, "--year", str(known[0]), "-o", "x.svg", "--db", DB).code == 0


@pytest.mark.usefixtures("here")
def test_a_year_is_only_for_figures_of_one_year(cli: CommandLine) -> None:
    result = cli("figure", "gains", RATIONAL, "--year", "4", "-o", "x.svg", "--db", DB)
    assert (result.code, Path("x.svg").exists()) == (2, False)
    assert "figure gains shows all years; --year is for hours_by_decile" in result.err


def test_a_law_that_never_changed_has_no_figure_of_a_change_and_gains_by_decile_are_those_of_incidence(
    cli: CommandLine,
) -> None:
    nobody_asked = ("--worker-type", "FIXED", "--planner-type", "US_FED")
    assert cli("run", "--num-agents", "30", "--max-timesteps", "2", *nobody_asked, "--db", DB).code == 0
    for year in ((), ("--year", "1")):
        result = cli("figure", "hours_by_decile", "1", *year, "-o", "x.svg", "--db", DB)
        assert (result.code, Path("x.svg").exists()) == (2, False)
        assert "never changed" in result.err
        assert result.err.count("\n") == 1
    with ReadOnlyStore(DB) as reader:
        (run,) = load(reader, ["1"])
        setting = run.world.setting()
        for words, law in (("law of the last year", run.world.schedule), ("ORACLE", run.oracle.schedule)):
            expected = incidence_of_law(setting.economy, setting.wages, law, run.start.schedule)
            assert gains(reader, run, words) == pytest.approx([one.utility for one in expected.deciles], rel=1e-4)


def test_fewer_than_ten_workers_are_shown_one_by_one(stored: Stored) -> None:
    run = stored.runs[RATIONAL]
    setting = run.world.setting()
    for words, law in (("law of the last year", run.world.schedule), ("ORACLE", run.oracle.schedule)):
        expected = incidence_of_law(setting.economy, setting.wages, law, run.start.schedule).everybody.utility
        found = gains(stored.reader, run, words)
        assert len(found) == PEOPLE
        assert sum(found) == pytest.approx(PEOPLE * expected, rel=1e-4)


def test_oracle_gains_most_by_the_objective_of_a_utilitarian(cli: CommandLine) -> None:
    """Without weights, ORACLE maximizes the mean of utility: no law has a higher mean gain."""
    nobody_asked = ("--worker-type", "FIXED", "--planner-type", "US_FED", "--welfare", "utilitarian")
    assert cli("run", "--num-agents", "30", "--max-timesteps", "1", *nobody_asked, "--db", DB).code == 0
    with ReadOnlyStore(DB) as reader:
        (run,) = load(reader, ["1"])
        best, last = (np.mean(gains(reader, run, words)) for words in ("ORACLE", "law of the last year"))
    assert best >= last
    assert best > 0
