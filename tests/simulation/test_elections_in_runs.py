"""Elections in runs: candidates, promises, the incumbent, and ties."""

from __future__ import annotations

from functools import partial

import pytest
from support.runs.governed_runs import KEEN, RELUCTANT, Answer, Scripted, play, rows


def engine(name: str) -> str:
    return f"engine:{__name__}:{name}"


Reluctant, Keen = partial(Scripted, **RELUCTANT), partial(Scripted, **KEEN)


Vague = partial(Scripted, stand={"stand": True, "rate_changes": None}, vote={"vote": "worker 1"})


Weary = partial(Scripted, stand={"stand": True, "rate_changes": [0, 0, 0]}, vote={"vote": "abstain"})


Whimsical = partial(Scripted, vote={"vote": "worker 99"})


Mumbling = partial(Scripted, stand="Maybe.")


One = partial(Scripted, stand={"stand": True, "rate_changes": [0, 0, 0]}, vote={"vote": "worker 0"})


def test_without_candidates_the_planner_governs() -> None:
    db = play(platforms=True, llm=engine("Reluctant"))
    assert rows(db, "SELECT count(*) FROM votes") == rows(db, "SELECT count(*) FROM platforms") == [(0,)]
    assert rows(db, "SELECT year, leader, rates[1] FROM years ORDER BY year") == [
        (0, None, 60),
        (1, None, 60),
        (2, None, 70),
        (3, None, 70),
    ]
    asked = "SELECT signature, agent, year FROM lm_calls WHERE list_contains(['planner', 'voter'], role) ORDER BY ALL"
    assert [row for row in rows(db, asked) if row[0] != "StandForOffice"] == [
        ("SetTaxRates", None, 0),
        ("SetTaxRates", None, 2),
    ]


def test_where_promises_bind_the_winner_is_not_asked_and_keeps_its_own() -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine("Keen"), max_timesteps=4)
    assert rows(db, "SELECT year, rates FROM years ORDER BY year") == [
        (0, [40, 50, 70]),
        (1, [40, 50, 70]),
        (2, [30, 50, 90]),
        (3, [30, 50, 90]),
    ]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'GovernAsLeader'") == [(0,)]
    promised = "FROM years y JOIN platforms p ON p.year = y.year AND p.candidate = y.leader"
    assert rows(db, f"SELECT DISTINCT y.rate_changes, planner_fallback, planner_call_id = p.call_id {promised}") == [
        ([-10, 0, 20], False, True)
    ]


def test_where_promises_bind_and_the_first_election_has_no_candidates_the_planner_governs() -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine("Reluctant"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT leader, rates FROM years") == [(None, [60, 50, 50])]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("kind", ["Once", "Tired"])
def test_where_promises_bind_a_leader_who_is_not_reelected_changes_nothing(kind: str) -> None:
    db = play(platforms=True, binding_platforms=True, llm=engine(kind), max_timesteps=6)
    assert rows(db, "SELECT DISTINCT leader, rates FROM years") == [(2, [40, 50, 70])]
    assert rows(db, "SELECT rate_changes, planner_fallback, planner_call_id FROM years WHERE year = 4") == [
        ([0, 0, 0], False, None)
    ]


class Once(Scripted):
    """Keen in the first election, reluctant ever after."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        return (KEEN if "no years yet" in prompt else RELUCTANT).get(field)


class Tired(Scripted):
    """Keen in the first election; later all stand and nobody votes."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        return {"vote": "abstain"} if field == "vote" and "no years yet" not in prompt else KEEN.get(field)


def test_the_leader_stays_when_no_one_votes() -> None:
    db = play(platforms=True, llm=engine("Tired"), max_timesteps=4)
    assert rows(db, "SELECT year, count(candidate) FROM votes GROUP BY ALL ORDER BY ALL") == [(0, 4), (2, 0)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(2,)]


def test_the_leader_stays_without_candidates() -> None:
    db = play(platforms=True, llm=engine("Once"), max_timesteps=6)
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(2,)]
    assert rows(db, "SELECT DISTINCT year FROM votes") == [(0,)]
    governed = "SELECT year, agent FROM lm_calls WHERE signature = 'GovernAsLeader' ORDER BY year"
    assert rows(db, governed) == [(0, 2), (2, 2), (4, 2)]
    assert rows(db, "SELECT rates[1] FROM years WHERE year % 2 = 0 ORDER BY year") == [(70,), (80,), (90,)]


def test_a_promise_is_told_to_the_voters_and_to_the_leader_but_does_not_bind() -> None:
    db = play(platforms=True, llm=engine("Keen"), max_timesteps=2)
    assert rows(db, "SELECT candidate, rate_changes, elected FROM platforms ORDER BY candidate") == [
        (agent, [-10, 0, 20], agent == 2) for agent in range(4)
    ]
    assert rows(db, "SELECT DISTINCT rates FROM years") == [([70, 70, 70],)]
    for signature in ("CastVote", "GovernAsLeader"):
        told = f"SELECT count(*) FROM lm_calls WHERE signature = '{signature}' AND prompt NOT LIKE '%-10/0/+20%'"
        assert rows(db, told) == [(0,)]


def test_a_candidate_without_a_platform_promises_to_change_nothing() -> None:
    db = play(platforms=True, llm=engine("Vague"), max_timesteps=2)
    assert rows(db, "SELECT DISTINCT rate_changes FROM platforms") == [([0, 0, 0],)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(1,)]


def test_without_platforms_there_are_candidates_and_no_promises() -> None:
    db = play(llm=engine("Keen"), max_timesteps=2)
    assert rows(db, "SELECT candidate, rate_changes, elected, call_id FROM platforms ORDER BY candidate") == [
        (agent, None, agent == 2, None) for agent in range(4)
    ]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE signature = 'StandForOffice'") == [(0,)]
    assert rows(db, "SELECT count(*) FROM lm_calls WHERE prompt LIKE '%; platform %'") == [(0,)]


def test_if_everyone_abstains_no_one_is_elected_and_it_is_no_failure() -> None:
    db = play(platforms=True, llm=engine("Weary"), max_timesteps=2)
    assert rows(db, "SELECT candidate, fallback, count(*) FROM votes GROUP BY ALL") == [(None, False, 4)]
    assert rows(db, "SELECT DISTINCT leader FROM years") == [(None,)]
    assert rows(db, "SELECT count(*) FROM platforms WHERE elected") == [(0,)]
    assert rows(db, "SELECT DISTINCT status FROM lm_calls") == [("ok",)]


def test_a_vote_for_a_non_candidate_is_asked_again_and_then_an_abstention() -> None:
    db = play(llm=engine("Whimsical"), max_timesteps=2)
    assert rows(db, "SELECT candidate, fallback, call_id, count(*) FROM votes GROUP BY ALL") == [(None, True, None, 4)]
    query = "SELECT status, attempt, count(*) FROM lm_calls WHERE signature = 'CastVote' GROUP BY ALL ORDER BY ALL"
    assert rows(db, query) == [("parse_error", attempt, 4) for attempt in (0, 1, 2)]
    repaired = "SELECT prompt FROM lm_calls WHERE signature = 'CastVote' AND attempt = 1 LIMIT 1"
    [(prompt,)] = rows(db, repaired)
    assert "That reply could not be used" in prompt
    assert "worker 99" in prompt


def test_who_cannot_say_whether_to_stand_does_not_stand() -> None:
    db = play(platforms=True, llm=engine("Mumbling"), max_timesteps=2)
    assert rows(db, "SELECT count(*) FROM platforms") == [(0,)]
    assert rows(db, "SELECT status, count(*) FROM lm_calls WHERE signature = 'StandForOffice' GROUP BY ALL") == [
        ("parse_error", 12)
    ]


def test_an_electorate_of_one_elects_its_choice() -> None:
    for platforms in (False, True):
        db = play(num_agents=1, platforms=platforms, llm=engine("One"), max_timesteps=2)
        assert rows(db, "SELECT voter, candidate FROM votes") == [(0, 0)]
        assert rows(db, "SELECT DISTINCT leader FROM years") == [(0,)]


def test_a_voter_is_shown_who_stands_and_which_candidate_it_is() -> None:
    db = play(llm=engine("Keen"), max_timesteps=2)
    people = rows(db, "SELECT agent, occupation, age FROM agents ORDER BY agent")
    for voter, prompt in rows(db, "SELECT agent, prompt FROM lm_calls WHERE signature = 'CastVote' ORDER BY agent"):
        for agent, occupation, age in people:
            you = " (you)" if agent == voter else ""
            assert f"worker {agent}{you}; {occupation[:57]}" in prompt
            assert f", {age}; $" in prompt


class Divided(Scripted):
    """Workers 0 and 2 vote for worker 0, workers 1 and 3 for worker 3."""

    def answer(self, field: str, prompt: str) -> Answer | None:
        odd = "worker 1 (you)" in prompt or "worker 3 (you)" in prompt
        return {"vote": f"worker {3 if odd else 0}"} if field == "vote" else None


@pytest.mark.slow
def test_a_tie_is_broken_at_random_by_the_seed() -> None:
    won = [
        rows(play(llm=engine("Divided"), seed=seed, max_timesteps=1), "SELECT leader FROM years")[0][0]
        for seed in range(5)
    ]
    again = rows(play(llm=engine("Divided"), seed=2, max_timesteps=1), "SELECT leader FROM years")[0][0]
    assert set(won) == {0, 3}
    assert again == won[2]
