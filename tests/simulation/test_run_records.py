"""What a run stores and tells: every call belongs to a decision, and prompts hold what happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.runs.small_runs import MIXED, RUNS, SMALL, Played, play

from pipeline.config import build


@pytest.fixture(scope="module", params=RUNS)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    settings = {**SMALL, **RUNS[request.param]}
    db = play(tmp_path_factory.mktemp("run"), **settings)
    yield Played(build(settings), db)
    db.close()


# -- lineage ------------------------------------------------------------------------------------------------------


@pytest.mark.first_cases(12)
def test_every_asked_decision_has_one_successful_call_and_no_other_has_any(played: Played) -> None:
    rows = played.all("""
        SELECT asked, fallback, count(c.call_id), min(c.call_id) IS NOT DISTINCT FROM any_value(d.call_id),
               any_value(CAST(c.parsed->>'labor' AS DOUBLE) = d.labor)
        FROM decisions d JOIN agents USING (run_id, agent)
        LEFT JOIN lm_calls c ON c.run_id = d.run_id AND c.year = d.year AND c.agent = d.agent
            AND c.signature = 'ChooseLabor' AND c.status = 'ok'
        GROUP BY d.year, d.agent, asked, fallback
    """)
    assert all(row == (True, False, 1, True, True) for row in rows if row[0])
    assert all(row == (False, False, 0, True, None) for row in rows if not row[0])


@pytest.mark.first_cases(12)
def test_no_call_is_an_orphan(played: Played) -> None:
    """Every call belongs to a row that came of it, by year and agent."""
    orphans = played.all("""
        SELECT c.year, c.agent, c.signature FROM lm_calls c WHERE NOT CASE c.signature
            WHEN 'ChooseLabor' THEN EXISTS (FROM decisions d
                WHERE d.call_id = c.call_id AND (d.year, d.agent) = (c.year, c.agent))
            WHEN 'JudgeTaxPolicy' THEN EXISTS (FROM decisions d
                WHERE d.satisfied = CAST(c.parsed->>'satisfied' AS BOOLEAN) AND (d.year, d.agent) = (c.year, c.agent))
            WHEN 'CastVote' THEN EXISTS (FROM votes v
                WHERE v.call_id = c.call_id AND (v.year, v.voter) = (c.year, c.agent))
            WHEN 'StandForOffice' THEN CAST(c.parsed->>'stand' AS BOOLEAN) = EXISTS (FROM platforms p
                WHERE p.call_id = c.call_id AND (p.year, p.candidate) = (c.year, c.agent))
            WHEN 'SetTaxRates' THEN c.agent IS NULL AND EXISTS (FROM years y WHERE y.planner_call_id = c.call_id
                AND y.year = c.year AND y.leader IS NULL)
            WHEN 'GovernAsLeader' THEN EXISTS (FROM years y WHERE y.planner_call_id = c.call_id
                AND (y.year, y.leader) = (c.year, c.agent))
            WHEN 'WritePersona' THEN EXISTS (FROM agents a WHERE a.persona = c.parsed->>'persona' AND a.agent = c.agent)
            ELSE false END
    """)
    assert orphans == []
    assert played.all("SELECT call_id FROM lm_calls GROUP BY ALL HAVING count(*) > 1") == []


@pytest.mark.first_cases(12)
def test_every_call_says_by_whom_and_how_it_was_made(played: Played) -> None:
    assert played.all("SELECT DISTINCT model, status, attempt, strategy FROM lm_calls") in (
        [("rules", "ok", 0, played.config.prompt_algo)],
        [],  # nobody was asked
    )
    [(prompts, costs)] = played.all("SELECT count(*), sum(cost_usd) FROM lm_calls WHERE length(prompt) > 300")
    assert prompts == played.all("SELECT count(*) FROM lm_calls")[0][0]
    assert not costs


def test_no_model_is_asked_where_everything_is_fixed(tmp_path: Path) -> None:
    db = play(tmp_path, worker_type="FIXED", planner_type="SAEZ", scenario="bounded")
    assert db.execute("SELECT count(*) FROM lm_calls").fetchall() == [(0,)]
    assert db.execute("SELECT count(*), max(rebate) > 0 FROM years").fetchall() == [(6, True)]


# -- what is told is what happened ------------------------------------------------------------------------------------


def field_of(prompt: str, name: str) -> str:
    """The text of an input field in the question at the end of a prompt."""
    question = prompt.rpartition("### user")[2]
    return question.partition(f"[[ ## {name} ## ]]\n")[2].partition("\n\n[[ ##")[0]


def number_in(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def test_a_worker_is_told_its_own_last_years(tmp_path: Path) -> None:
    db = play(tmp_path, **MIXED, num_agents=8, max_timesteps=6)
    rows = db.execute("""
        SELECT c.prompt, d.labor, d.income, d.tax, r.rebate, y.rates,
               CASE utility_type WHEN 'egotistical' THEN d.utility - d.rebate + d.tax / 8 ELSE d.objective END
        FROM lm_calls c JOIN agents USING (run_id, agent) JOIN decisions d ON d.agent = c.agent AND d.year = c.year - 1
        JOIN years r ON r.year = c.year - 1 JOIN years y ON y.year = c.year WHERE c.signature = 'ChooseLabor'
    """).fetchall()
    assert len(rows) == 8 * 5
    for prompt, *happened, rebate, rates, value in rows:
        told = field_of(prompt, "record").split("\n")[-2]
        assert [float(x) for x in told.partition(": ")[2].split(", ")] == pytest.approx([*happened, value], abs=0.5)
        assert number_in(field_of(prompt, "last_rebate")) == pytest.approx(rebate, abs=0.5)
        law = field_of(prompt, "tax_schedule")
        assert [float(rate) for rate in re.findall(r"([\d.]+)%", law)] == rates


def test_the_best_year_told_is_the_best_there_was(tmp_path: Path) -> None:
    db = play(tmp_path, num_agents=3, max_timesteps=8)
    for agent, year, prompt in db.execute("""
        SELECT agent, year, prompt FROM lm_calls WHERE signature = 'ChooseLabor' AND year > 0
    """).fetchall():
        best = db.execute(
            """
            SELECT labor, utility - rebate + tax / 3 FROM decisions WHERE agent = ? AND year < ? ORDER BY 2 DESC LIMIT 1
        """,
            [agent, year],
        ).fetchall()[0]
        told = re.fullmatch(r"best: ([\d.]+) hours, (-?[\d.]+)", field_of(prompt, "record").split("\n")[-1])
        assert told is not None
        assert [float(x) for x in told.groups()] == pytest.approx(best, abs=0.5)


def test_no_agent_remembers_more_years_than_requested(tmp_path: Path) -> None:
    db = play(tmp_path, history_len=3, max_timesteps=8, two_timescale=50)
    for year, prompt in db.execute("SELECT year, prompt FROM lm_calls WHERE signature = 'ChooseLabor'").fetchall():
        by_hours = field_of(prompt, "record").partition("last years")[0]
        assert sum(int(years) for years in re.findall(r"\((\d+)\);", by_hours)) == min(year, 3)


def test_a_planner_is_told_what_each_law_was_worth_once_workers_had_settled(tmp_path: Path) -> None:
    db = play(tmp_path, max_timesteps=12, two_timescale=3, welfare="utilitarian")
    years = db.execute("SELECT year, rates, welfare FROM years ORDER BY year").fetchall()
    calls = "SELECT year, prompt FROM lm_calls WHERE signature = 'SetTaxRates' AND year > 0 ORDER BY year"
    for now, prompt in db.execute(calls).fetchall():
        told = {}
        for line in field_of(prompt, "record").split("\n")[1:]:
            law, settled, mean, count = re.fullmatch(r"([\d./]+): (\S+), (\S+) \((\d+)\)", line).groups()  # type: ignore[union-attr]
            told[tuple(map(float, law.split("/")))] = (float(settled), float(mean), int(count))
        expected: dict[tuple[float, ...], list[tuple[int, float]]] = {}
        for year, rates, welfare in years[:now]:
            expected.setdefault(tuple(rates), []).append((year, welfare))
        assert set(told) == set(expected)
        for law, seen in expected.items():
            settled = [welfare for year, welfare in seen if year % 3 == 2]
            means = (np.mean(settled), np.mean([welfare for _, welfare in seen]))
            assert told[law] == pytest.approx((*means, len(seen)), rel=1e-4)
        assert f"{years[now - 1][2]:.5g}" in field_of(prompt, "economy")
