"""The years in a report are those of the store, all of them or a stated part within a stated size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.runs import three_runs as three
from support.runs.three_runs import BOUNDED, DEMOCRATIC, PEOPLE, RATIONAL, YEARS, Stored

from evals.report import years
from evals.report.year_cells import CANDIDATE_HEAD, PEOPLE_HEAD, TENTH_HEAD


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with three.stored(tmp_path_factory.mktemp("stored")) as it:
        yield it


def held(stored: Stored, run: str, most: int = years.PAGE_BYTES) -> tuple[years.Embedded, dict[str, Any]]:
    made = years.embedded(stored.reader, stored.runs[run], most=most)
    assert len(made.json) <= most
    return made, json.loads(made.json)


@pytest.mark.slow
@pytest.mark.parametrize("run", [BOUNDED, DEMOCRATIC, RATIONAL])
def test_every_year_of_a_small_run_is_there_with_every_worker(run: str, stored: Stored) -> None:
    made, data = held(stored, run)
    assert made.note == ""
    assert [one["year"] for one in data["years"]] == [*range(YEARS)]
    decisions = stored.reader.rows(f"SELECT year, agent, labor, income, tax FROM decisions WHERE run_id = {run}")
    found = {
        (one["year"], int(lead[0])): dict(zip(PEOPLE_HEAD, [*lead, *row], strict=True))
        for one in data["years"]
        for lead, row in zip(data["lead"]["people"], one["people"], strict=True)
    }
    assert len(found) == len(decisions) == YEARS * PEOPLE
    for row in decisions:
        shown = found[row["year"], row["agent"]]
        assert float(shown["hours"]) == row["labor"]
        for name in ("income", "tax"):
            assert float(shown[name].strip("$").replace(",", "")) == pytest.approx(row[name], abs=0.5)


def test_each_year_has_its_law(stored: Stored) -> None:
    _, data = held(stored, RATIONAL)
    laws = stored.reader.rows(f"SELECT year, rates FROM years WHERE run_id = {RATIONAL} ORDER BY year")
    assert [[cells[1] for cells in one["law"]] for one in data["years"]] == [
        [f"{rate:g} %" for rate in law["rates"]] for law in laws
    ]


def test_elections_have_their_candidates_winner_and_ballots(stored: Stored) -> None:
    _, data = held(stored, DEMOCRATIC)
    won = stored.reader.rows("SELECT year, candidate FROM elections WHERE run_id = 2 AND elected ORDER BY year")
    votes = stored.reader.rows("SELECT year, count(*) AS n FROM votes WHERE run_id = 2 GROUP BY year ORDER BY year")
    assert won
    assert [
        (one["year"], row[0]) for one in data["elections"] for i, row in enumerate(one["candidates"]) if i in one["won"]
    ] == [(row["year"], f"worker {row['candidate']}") for row in won]
    assert [len(one["ballots"]) for one in data["elections"]] == [row["n"] for row in votes]
    assert all(len(row) == len(CANDIDATE_HEAD) for one in data["elections"] for row in one["candidates"])


@pytest.mark.slow
def test_larger_runs_keep_tenths_and_then_fewer_years_within_the_limit_and_say_so(stored: Stored) -> None:
    whole = len(held(stored, DEMOCRATIC)[0].json)
    without_workers, seen = False, set()
    for most in range(whole - 1, 3000, -whole // 15):
        made, data = held(stored, DEMOCRATIC, most)
        shown = [one["year"] for one in data["years"]]
        step = shown[1] - shown[0] if len(shown) > 1 else YEARS
        assert shown == [*range((YEARS - 1) % step, YEARS, step)], "evenly spaced, with the last"
        assert [*data["lead"]] == ["tenths"]
        assert made.note.startswith({1: "Every year", 2: "Every second year"}.get(step, f"Every {step}th year"))
        assert not any("ballots" in one for one in data["elections"])
        assert ("elections:" in made.note) == (len(data["elections"]) < 3)
        without_workers = without_workers or "without single workers and ballots" in made.note
        seen.add(step)
    assert without_workers
    assert len(seen) >= 3


def test_tenths_of_all_years_average_to_the_hours_of_the_year(stored: Stored) -> None:
    made = years._gathered(stored.reader, stored.runs[BOUNDED], years.Detail(workers=False, step=1), years.PAGE_BYTES)
    assert made is not None
    data = json.loads(made.json)
    assert len(data["years"]) == YEARS
    hours = TENTH_HEAD.index("hours") - 2
    for one in data["years"]:
        (law,) = stored.reader.rows(f"SELECT mean_labor FROM years WHERE run_id = 1 AND year = {one['year']}")
        assert sum(float(row[hours]) for row in one["tenths"]) / PEOPLE == pytest.approx(law["mean_labor"], abs=0.06)
