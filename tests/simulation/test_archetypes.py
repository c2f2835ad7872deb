"""Workers who are alike may be asked through one of them: who that is, whose answer is whose, and what it may cost."""

import asyncio
import dataclasses
import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from evals.datasets.from_traces import TraceDataset
from pipeline.agents.question import Answer, Question
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import RunConfig, build
from pipeline.economy.population import Population, draw_population
from pipeline.economy.utility import Economy
from pipeline.simulation.archetypes import delegate, everybody, form, partition
from pipeline.simulation.loop import play_year
from pipeline.simulation.memory import WorkerMemory
from pipeline.simulation.world import create
from pipeline.store.columns import BULK

SMALL = ("--num-agents", "12", "--max-timesteps", "5", "--two-timescale", "2", "--llm", "rules")
FEW = ("--archetypes", "4", "--archetype-samples", "2")


@some.composite
def crowds(draw):
    """Traits (N, 2) with many ties, and groups (N,)."""
    size = draw(some.integers(1, 40))
    values = some.sampled_from([0.0, 0.1, 0.2, 0.30000000000000004, 1.0, 5.0, 1e9, 1e9 + 1e-6])
    rows = some.lists(some.tuples(values, values), min_size=size, max_size=size)
    groups = some.lists(some.integers(0, 2), min_size=size, max_size=size)
    return np.array(draw(rows)), np.array(draw(groups))


@given(crowds(), some.integers(3, 50))
def test_archetypes_part_the_workers_and_are_at_most_so_many_and_cross_no_group(crowd, most) -> None:
    traits, group = crowd
    cells = partition(traits, group, most)
    assert sorted(np.concatenate(cells).tolist()) == list(range(len(group)))
    assert len(cells) <= most
    for cell in cells:
        assert len(cell) >= 1
        assert len(set(group[cell].tolist())) == 1


@given(crowds(), some.integers(3, 50), some.randoms(use_true_random=False))
def test_who_is_together_does_not_depend_on_the_workers_numbers(crowd, most, random) -> None:
    traits, group = crowd
    shuffled = list(range(len(group)))
    random.shuffle(shuffled)
    told = {frozenset(cell.tolist()) for cell in partition(traits, group, most)}
    again = partition(traits[shuffled], group[shuffled], most)
    assert told == {frozenset(shuffled[member] for member in cell) for cell in again}


@given(crowds())
def test_with_room_for_all_only_the_same_are_together(crowd) -> None:
    traits, group = crowd
    for cell in partition(traits, group, len(group) + 2):
        assert (traits[cell] == traits[cell][0]).all()


def test_what_is_cut_next_is_wide_and_has_many_members() -> None:
    traits = np.array([[0.0], [1.0], [2.0], [3.0], [50.0]])
    cells = partition(traits, np.zeros(5, dtype=int), 2)
    assert sorted(map(sorted, cells)) == [[0, 1, 2, 3], [4]]


@given(some.lists(some.integers(0, 5), min_size=1, max_size=30), some.integers(1, 4), some.data())
def test_every_worker_has_an_answer_of_its_own_archetype(labels, samples, data) -> None:
    members = {label: [i for i, other in enumerate(labels) if other == label] for label in labels}
    speaker = {label: data.draw(some.sampled_from(all_of_it)) for label, all_of_it in members.items()}
    archetype = np.array([speaker[label] for label in labels])
    told = delegate(archetype, samples)
    assert told.agent.tolist() == sorted(set(told.agent.tolist()))
    assert (told.shown == archetype[told.agent]).all()
    assert (archetype[told.agent][told.answer] == archetype).all()
    assert set(archetype.tolist()) <= set(told.agent.tolist()), "who is told of is asked"
    assert (told.agent[told.answer[told.agent]] == told.agent).all(), "who lends a name takes that answer"
    for all_of_it in members.values():
        shares = np.bincount(told.answer[all_of_it])
        shares = shares[shares > 0]
        assert len(shares) == min(samples, len(all_of_it))
        assert shares.max() - shares.min() <= 1, "the answers are spread evenly"


def test_everybody_alone_is_the_same_as_everybody() -> None:
    alone, plain = delegate(np.arange(5), 3), everybody(np.ones(5, dtype=bool))
    for field in ("agent", "shown", "answer"):
        assert getattr(alone, field).tolist() == getattr(plain, field).tolist()


def test_no_question_is_asked_for_workers_without_a_model() -> None:
    told = everybody(np.array([True, False, True]))
    assert told.agent.tolist() == [0, 2]
    assert told.answer.tolist() == [0, -1, 1]


def people(size: int, **mix: float) -> Population:
    return draw_population("acs", size, np.random.default_rng(1), demographics=True, **mix)


def formed(population: Population, most: int, hours: np.ndarray | None = None, *, personas: bool = True) -> np.ndarray:
    size = population.num_agents
    worked = np.full(size, 40.0) if hours is None else hours
    return form(population, WorkerMemory(5, size), worked, economy=Economy(), most=most, personas=personas)


@settings(max_examples=30)
@given(some.integers(3, 120), some.integers(1, 100))
def test_archetypes_never_mix_those_who_want_different_things(most, size) -> None:
    crowd = people(size, percent_ego=50, percent_alt=30, percent_adv=20)
    archetype = formed(crowd, most)
    assert (crowd.utility_type[archetype] == crowd.utility_type).all()
    assert len(np.unique(archetype)) <= most
    assert (archetype[archetype] == archetype).all(), "who is told of is a member"


def test_kinds_of_people_have_their_own_archetypes_if_there_are_enough() -> None:
    crowd = people(400)
    few, many = formed(crowd, 10), formed(crowd, 300)
    assert (crowd.sex[few] != crowd.sex).any()
    assert (crowd.sex[many] == crowd.sex).all()
    unseen = formed(crowd, 300, personas=False)
    assert (crowd.sex[unseen] != crowd.sex).any(), "without personas nobody is told who they are"


def test_a_wage_and_what_is_remembered_both_part_workers() -> None:
    same = Population(np.full(40, 20.0), np.array(["egotistical"] * 40, dtype=object))
    hours = np.repeat([30.0, 50.0], 20)
    assert len(np.unique(formed(same, 10))) == 1
    assert formed(same, 10, hours).tolist() == [0] * 20 + [20] * 20
    other = replace(same, wage=np.repeat([10.0, 90.0], 20))
    assert formed(other, 10).tolist() == [0] * 20 + [20] * 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scenario": "democratic"}, "--archetypes 5 does not fit --scenario democratic, where every worker votes"),
        ({"worker_type": "FIXED"}, "--archetypes 5 needs --worker-type LLM, not FIXED"),
        ({"worker_type": "ONE_LLM"}, "--archetypes 5 needs --worker-type LLM, not ONE_LLM"),
        ({"archetypes": 1, "percent_ego": 50, "percent_alt": 50}, "the run has 2 utility types; expected at least 2"),
        ({"archetypes": None, "archetype_samples": 2}, "--archetype-samples 2 needs --archetypes"),
        ({"archetypes": 0}, "--archetypes 0"),
    ],
)
def test_what_makes_no_sense_with_archetypes_is_refused_in_one_line(settings, words) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as refusal:
        build({"archetypes": 5, **settings})
    assert "\n" not in str(refusal.value)


def rows(query: str, db: str) -> list[dict[str, Any]]:
    with duckdb.connect(db, read_only=True) as connection:
        cursor = connection.execute(query)
        return [dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in cursor.fetchall()]


DECISIONS = "select * exclude (run_id, archetype) from decisions order by year, agent"
CALLS = "select * exclude (run_id, latency_ms, started_at) from lm_calls order by call_id"


def test_as_many_archetypes_as_workers_is_asking_everybody(cli) -> None:
    for db, more in (("all.duckdb", ()), ("alone.duckdb", ("--archetypes", "12"))):
        assert cli("run", *SMALL, *more, "--db", db).code == 0
    assert rows(DECISIONS, "all.duckdb") == rows(DECISIONS, "alone.duckdb")
    assert rows(CALLS, "all.duckdb") == rows(CALLS, "alone.duckdb")
    assert rows("select count(archetype) as n from decisions", "all.duckdb") == [{"n": 0}]


ASKED = """
    select d.year, d.agent, d.archetype, d.labor, d.satisfied, c.agent as name, c.prompt, c.parsed->>'labor' as said
    from decisions d join lm_calls c on (c.run_id, c.call_id) = (d.run_id, d.call_id) order by d.year, d.agent"""


def test_every_decision_joins_the_call_of_its_archetype_and_does_what_that_says(cli) -> None:
    assert cli("run", *SMALL, *FEW, "--db", "a.duckdb").code == 0
    decided = rows(ASKED, "a.duckdb")
    wage = {row["agent"]: row["wage"] for row in rows("select agent, wage from agents", "a.duckdb")}
    told_of = {(row["year"], row["agent"]): row["archetype"] for row in decided}
    assert len(decided) == 60
    for row in decided:
        assert row["labor"] == float(row["said"])
        assert told_of[row["year"], row["name"]] == row["archetype"], "asked in the name of a member"
        assert f"You earn ${wage[row['archetype']]:.2f} an hour" in row["prompt"]
    for year in range(5):
        calls = {row["name"] for row in decided if row["year"] == year}
        archetypes = {row["archetype"] for row in decided if row["year"] == year}
        assert archetypes <= calls
        assert 4 == len(archetypes) < len(calls) <= 8
    who = [[told_of[year, agent] for agent in range(12)] for year in range(5)]
    assert who[0] == who[1], "archetypes last for a tax year"
    assert who[2] == who[3]


JUDGED = """
    select count(*) as n, bool_and(d.satisfied = (c.parsed->>'satisfied')::boolean) as heard,
           bool_and(contains(c.prompt, 'in the occupation group ''' || a.occupation)) as told_of_it
    from decisions d
    join lm_calls c on (c.run_id, c.year, c.agent) = (d.run_id, d.year, d.archetype) and c.signature = 'JudgeTaxPolicy'
    join agents a on (a.run_id, a.agent) = (d.run_id, d.archetype)"""


def test_archetypes_of_people_judge_together_and_are_who_the_census_says(cli) -> None:
    assert cli("run", *SMALL, "--archetypes", "4", "--scenario", "bounded", "--db", "a.duckdb").code == 0
    assert rows(JUDGED, "a.duckdb") == [{"n": 60, "heard": True, "told_of_it": True}]
    written = "select count(persona) as n from agents union all select count(*) from lm_calls where role = 'persona'"
    assert rows(written, "a.duckdb") == [{"n": 0}, {"n": 0}]
    assert cli("interview", "1", "--agent", "5", "--year", "3", "Why?", "--db", "a.duckdb").code == 0
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("whole", [1, 2])
def test_an_interrupted_run_resumes_with_the_archetypes_it_had(cli, whole) -> None:
    """Cut off in the middle of a tax year and at its end; the calls of the broken year are there."""
    assert cli("run", *SMALL, *FEW, "--db", "a.duckdb").code == 0
    before = rows(DECISIONS, "a.duckdb"), rows(CALLS, "a.duckdb")
    with duckdb.connect("a.duckdb") as db:
        for table in ("decisions", "years"):
            db.execute(f"delete from {table} where year >= {whole}")
        db.execute(f"delete from lm_calls where year > {whole}")
        db.execute("update runs set status = 'running'")
    assert cli("resume", "1", "--db", "a.duckdb").code == 0
    assert (rows(DECISIONS, "a.duckdb"), rows(CALLS, "a.duckdb")) == before
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


def test_a_replay_finds_the_decision_that_was_changed(cli) -> None:
    assert cli("run", *SMALL, *FEW, "--db", "a.duckdb").code == 0
    with duckdb.connect("a.duckdb") as db:
        db.execute("update decisions set archetype = 11 where year = 3 and agent = 7")
    result = cli("replay", "1", "--db", "a.duckdb")
    assert result.code == 1
    assert "decisions of run 1, year 3, agent 7: archetype is" in result.err


def test_a_fork_keeps_the_archetypes_and_cannot_change_their_number(cli) -> None:
    assert cli("run", *SMALL, *FEW, "--db", "a.duckdb").code == 0
    refused = cli("fork", "1", "--at", "3", "--archetypes", "6", "--db", "a.duckdb")
    assert refused.code == 2
    assert "--archetypes cannot change in a fork" in refused.err
    assert cli("fork", "1", "--at", "3", "--planner-type", "US_FED", "--db", "a.duckdb").code == 0
    same = """select count(*) as n from decisions a join decisions b using (year, agent)
              where a.run_id = 1 and b.run_id = 2 and year = 3 and a.archetype = b.archetype"""
    assert rows(same, "a.duckdb") == [{"n": 12}]


@dataclass
class Speechless(RuleAgents):
    """The rules, but for one agent who gives no answer of any use from year 1 on."""

    agent: int = 0

    async def ask(self, question: Question) -> Answer:
        if question.name == "ChooseLabor" and question.agent == self.agent and question.year:
            return Answer(None, [], error="nothing")
        return await super().ask(question)


def test_without_an_answer_all_who_would_have_followed_it_do_as_last_year() -> None:
    world = create(RunConfig(num_agents=30, max_timesteps=4, two_timescale=4, archetypes=5, planner_type="US_FED"))
    silent = int(world.delegate(0).shown[2])
    llm_agents = Speechless(1, agent=silent)
    years = [asyncio.run(play_year(world, llm_agents, year)) for year in range(3)]
    told = world.delegation
    assert told is not None
    assert told.archetype is not None
    followers = told.archetype == silent
    assert followers.sum() > 1
    assert not years[0].fallback.any()
    for before, year in itertools.pairwise(years):
        assert (year.fallback == followers).all()
        assert year.failed == 1
        assert (year.outcome.labor[followers] == before.outcome.labor[followers]).all()


def test_states_from_traces_are_what_the_archetypes_were_shown(cli) -> None:
    assert cli("run", *SMALL, *FEW, "--db", "a.duckdb").code == 0
    asked = "select run_id, year, agent, prompt from lm_calls where signature = 'ChooseLabor'"
    prompts = {(row["year"], row["agent"]): row["prompt"] for row in rows(asked, "a.duckdb")}
    with TraceDataset("ChooseLabor", "a.duckdb") as mine:
        states = mine.states(mine.places(asked), mine.economies([1]))
    assert {(place.year, place.agent) for place in states} == set(prompts)
    for place, example in states.items():
        for told in dict(example.inputs()).values():
            assert told in prompts[place.year, place.agent]


def test_a_dry_run_forecasts_the_questions_to_archetypes(cli) -> None:
    forecast = json.loads(cli("run", *SMALL, *FEW, "--scenario", "bounded", "--dry-run", "--json").out)["signatures"]
    assert cli("run", *SMALL, *FEW, "--scenario", "bounded", "--db", "a.duckdb").code == 0
    made = rows("select signature, count(*) as n from lm_calls group by all", "a.duckdb")
    assert {row["signature"] for row in made} == set(forecast)
    for row in made:
        low, high = forecast[row["signature"]]["calls"]
        assert low <= row["n"] <= high


@pytest.mark.slow
def test_a_large_run_is_stored_whole_and_replays(cli) -> None:
    """More rows a year than go in one by one, with and without NULLs."""
    args = ("--num-agents", str(2 * BULK), "--max-timesteps", "2", "--archetypes", "20", "--llm", "rules")
    law = ("--bracket-setting", "flat", "--planner-type", "US_FED", "--agent-mix", "acs")
    assert cli("run", *args, *law, "--db", "a.duckdb").code == 0
    told = """select count(*) as n, count(distinct agent) as agents, count(distinct call_id) as calls,
              count(shocked_wage) as shocked, count(satisfied) as judged, bool_and(regret >= 0) as sane
              from decisions"""
    assert rows(told, "a.duckdb") == [
        {"n": 4 * BULK, "agents": 2 * BULK, "calls": 40, "shocked": 0, "judged": 0, "sane": True}
    ]
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


@pytest.mark.slow
def test_the_bench_tells_no_error_where_everybody_is_asked(cli) -> None:
    errors = json.loads(
        cli("bench", "archetypes", "--num-agents", "12", "--max-timesteps", "4", "--rounds", "1", "--json").out
    )
    assert errors[-1] == {"archetypes": 12, "hours": 0, "mean_hours": 0, "welfare": 0, "rates": 0, "loss": 0}
    assert errors[0]["archetypes"] == 1
    assert errors[0]["hours"] > 0


def test_the_bench_of_the_economy_fits_a_line(cli) -> None:
    found = json.loads(cli("bench", "economy", "--num-agents", "20000", "--rounds", "1", "--json").out)
    assert [year["workers"] for year in found["years"]] == [1000, 10000, 20000]
    assert all(year["year"] > 0 for year in found["years"])
    assert found["per_worker_ns"] > 0


def test_archetypes_are_settings_like_any_other() -> None:
    names = {field.name for field in dataclasses.fields(RunConfig)}
    assert {"archetypes", "archetype_samples"} <= names
    assert RunConfig().archetypes is None
