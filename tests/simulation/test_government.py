"""Who governs: planners, candidates, voters and leaders, asked through real runs with scripted answers."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from support.runs.governed_runs import SMALL, Answer, Scripted, play, rows

from pipeline.config import build
from pipeline.economy.tax import BRACKETS, tax
from pipeline.simulation.government import _sincere_ballots
from pipeline.simulation.world import create
from signatures.types import TaxSchedule


def engine(name: str) -> str:
    return f"engine:{__name__}:{name}"


# -- the planner --------------------------------------------------------------------------------------------------


Radical = partial(Scripted, rate_changes={"rate_changes": [-20, 10, 20]})


Undecided = partial(Scripted, rate_changes="Hard to say.")


Overreaching = partial(Scripted, rate_changes={"rate_changes": [-30, 10, 20]})


Miscounting = partial(Scripted, rate_changes={"rate_changes": [10, 10]})


def test_a_planner_moves_the_rates_by_its_changes_and_stays_within_bounds() -> None:
    db = play(scenario="rational", llm=engine("Radical"), max_timesteps=8, two_timescale=2)
    assert rows(db, "SELECT rates FROM years WHERE year % 2 = 0 ORDER BY year") == [
        ([30, 60, 70],),
        ([10, 70, 90],),
        ([0, 80, 100],),
        ([0, 90, 100],),
    ]
    assert rows(db, "SELECT DISTINCT rate_changes, planner_fallback FROM years WHERE year % 2 = 0") == [
        ([-20, 10, 20], False)
    ]
    odd = rows(db, "SELECT rates, rate_changes, planner_fallback, planner_call_id FROM years WHERE year = 1")
    assert odd == [([30, 60, 70], None, None, None)]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("kind", ["Undecided", "Overreaching", "Miscounting"])
def test_a_planner_without_a_usable_answer_leaves_the_rates(kind: str) -> None:
    db = play(scenario="rational", llm=engine(kind))
    assert rows(db, "SELECT DISTINCT rates FROM years") == [([50, 50, 50],)]
    query = "SELECT year, rate_changes, planner_fallback, planner_call_id FROM years WHERE year % 2 = 0 ORDER BY year"
    assert rows(db, query) == [(0, [0, 0, 0], True, None), (2, [0, 0, 0], True, None)]
    attempts = "SELECT status, attempt FROM lm_calls WHERE signature = 'SetTaxRates' AND year = 2 ORDER BY attempt"
    assert rows(db, attempts) == [("parse_error", 0), ("parse_error", 1), ("parse_error", 2)]


def test_a_planner_is_told_what_was_tried_and_when_to_exploit() -> None:
    db = play(scenario="rational", llm=engine("Radical"), max_timesteps=10, two_timescale=2)
    prompts = [
        text for (text,) in rows(db, "SELECT prompt FROM lm_calls WHERE signature = 'SetTaxRates' ORDER BY year")
    ]
    assert "no years yet" in prompts[0]
    assert "30/60/70: " in prompts[1]
    assert "10/70/90: " in prompts[2]
    told = [text.rpartition("[[ ## phase ## ]]\n")[2].split("\n")[0] for text in prompts]
    assert told == ["explore"] * 4 + ["exploit"]


One = partial(Scripted, stand={"stand": True, "rate_changes": [0, 0, 0]}, vote={"vote": "worker 0"})


Silent = partial(Scripted, vote={"vote": "worker 2"}, rate_changes="Hm.")


# -- a long ballot ------------------------------------------------------------------------------------------------


class Loyal(Scripted):
    """Everybody votes for whom the ballot names last."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        names = re.findall(r"^(worker \d+)(?: \(you\))?; ", prompt, re.MULTILINE)
        return {"vote": names[-1]} if field == "vote" else None


def test_a_ballot_of_more_than_20_is_drawn_each_time_and_keeps_the_incumbent() -> None:
    db = play(num_agents=25, llm=engine("Loyal"), max_timesteps=4, two_timescale=1, worker_type="LLM")
    ballots = [
        [agent for (agent,) in rows(db, f"SELECT candidate FROM platforms WHERE year = {year} ORDER BY ALL")]
        for year in range(4)
    ]
    leaders = [leader for (leader,) in rows(db, "SELECT leader FROM years ORDER BY year")]
    assert all(len(ballot) == 20 for ballot in ballots)
    assert len({tuple(ballot) for ballot in ballots}) > 1
    for before, ballot in zip(leaders, ballots[1:], strict=False):
        assert before in ballot
    assert rows(db, "SELECT year, count(*) FROM votes GROUP BY ALL ORDER BY ALL") == [(year, 25) for year in range(4)]


# -- workers without a mind ---------------------------------------------------------------------------------------


def test_only_who_is_asked_can_be_elected() -> None:
    db = play(worker_type="ONE_LLM", llm=engine("One"), platforms=True)
    assert rows(db, "SELECT DISTINCT candidate FROM platforms") == [(0,)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(0,)]


def test_a_society_of_fixed_workers_holds_no_election_and_does_not_fail() -> None:
    for platforms in (False, True):
        db = play(worker_type="FIXED", platforms=platforms)
        assert rows(db, "SELECT count(*) FROM votes") == [(0,)]
        assert rows(db, "SELECT DISTINCT signature FROM lm_calls") == [("SetTaxRates",)]
        assert rows(db, "SELECT count(*), count(leader) FROM years") == [(4, 0)]


def test_workers_without_a_model_vote_for_the_law_that_pays_them_most() -> None:
    """Only one stands in ONE_LLM, so their choice is put to them directly."""

    world = create(build({**SMALL, "num_agents": 12, "worker_type": "FIXED", "platforms": True}))
    platforms = {0: (-20, -20, -20), 1: (20, 20, 20), 2: (0, 0, 0), 3: (20, 0, -20)}
    income = 52 * world.population.wage * world.hours

    def left(agent: int, voter: int) -> float:
        moved = tuple(rate + change for rate, change in zip(world.schedule.rates, platforms[agent], strict=True))
        taxes = tax(TaxSchedule(thresholds=world.schedule.thresholds, rates=moved), income)
        return float(income[voter] - taxes[voter] + taxes.mean())

    names, rankings = (_sincere_ballots(world, 0, platforms, form) for form in ("name", "ranking"))
    for voter in range(12):
        order = sorted(platforms, key=lambda agent: -left(agent, voter))
        assert names[voter] == (order[0],)
        assert rankings[voter] == tuple(order)
    assert len(set(names.values())) > 1


def test_workers_without_a_model_and_without_platforms_vote_for_similar_wages() -> None:

    world = create(build({**SMALL, "num_agents": 6, "worker_type": "FIXED"}))
    wage = world.population.wage
    standing = {int(wage.argmin()): None, int(wage.argmax()): None}
    ballots = _sincere_ballots(world, 0, standing, "name")
    for voter in range(6):
        assert ballots[voter] == (min(standing, key=lambda agent: abs(wage[agent] - wage[voter])),)


# -- the calls behind it ------------------------------------------------------------------------------------------


def test_a_failed_leader_leaves_the_rates_and_the_office() -> None:
    db = play(llm=engine("Silent"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT leader, rates, planner_fallback FROM years WHERE year = 0") == [
        (2, [50, 50, 50], True)
    ]
    assert rows(db, "SELECT agent, status FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(2, "parse_error")] * 3


@pytest.mark.slow
def test_a_platform_has_as_many_changes_as_there_are_brackets() -> None:
    for setting in ("flat", "three", "US_FED"):
        db = play(bracket_setting=setting, platforms=True, seed=7, max_timesteps=3)
        lengths = rows(db, "SELECT DISTINCT len(rate_changes) FROM platforms")
        assert lengths == [(len(BRACKETS[setting]),)]
        parsed = rows(db, "SELECT parsed FROM lm_calls WHERE signature = 'SetTaxRates' OR signature = 'GovernAsLeader'")
        assert {len(json.loads(text)["rate_changes"]) for (text,) in parsed} == {len(BRACKETS[setting])}
