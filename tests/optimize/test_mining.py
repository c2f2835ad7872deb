"""Examples mined from stored runs: the same prompts as in the run, and no population in two splits."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from functools import cache
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from rich.console import Console
from support.runs.live_runs import running, until, year_of
from support.village import CallRecorder, ask, module_of

from evals.datasets.exact_answers import bare
from evals.datasets.from_traces import TraceDataset
from evals.datasets.simulated import Dataset, mined
from evals.metrics.registry import METRICS, missed
from evals.run.fork import fork
from pipeline.agents.agents import LLMAgents
from pipeline.agents.call_trace import prompt_text
from pipeline.config import build
from pipeline.economy.tax import BRACKETS
from pipeline.errors import UsageError
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.loop import Simulation
from pipeline.simulation.restore import restore, worlds
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run
from pipeline.store.writer import Store
from programs.roles.voter import ballot

SMALL = {"llm": "rules", "num_agents": 4, "max_timesteps": 6, "two_timescale": 2, "history_len": 3}
RUNS: dict[int, dict[str, Any]] = {
    1: {"seed": 1},
    2: {"seed": 2, "scenario": "bounded", "welfare": "atkinson"},
    3: {"seed": 3, "scenario": "democratic", "platforms": True, "num_agents": 6},
    4: {"seed": 1, "planner_type": "UNIFORM"},
    5: {"seed": 5, "percent_ego": 50, "percent_alt": 50, "bracket_setting": "US_FED"},
    6: {"seed": 6, "scenario": "democratic"},
}
FORK = 7
"""Run 1 from year 4 on, with one bracket."""

ASKED = "SELECT DISTINCT run_id, year, agent FROM lm_calls WHERE signature = '{}'"
OWN = " AND agent IN (SELECT agent FROM agents a WHERE a.run_id = lm_calls.run_id AND utility_type = 'egotistical')"
METRIC = {"ChooseLabor": "regret", "SetTaxRates": "welfare", "CastVote": "vote_quality", "WritePersona": "fidelity"}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("mine") / "runs.duckdb")
    with Store(path) as store:
        for settings in RUNS.values():
            config = build({**SMALL, "db": path, **settings})
            llm_agents = LLMAgents(config, "rules")
            asyncio.run(Simulation(config, store, llm_agents).play())
    quiet = Console(file=io.StringIO())
    assert fork("1", path, 4, {"bracket_setting": "flat", "log_dir": str(Path(path).parent)}, quiet) == 0
    return path


def query(question: str) -> str:
    where = {"ChooseLabor": OWN, "CastVote": " AND run_id = 3"}.get(question, "")
    return ASKED.format(question) + where


@cache
def all_of(question: str, db: str) -> Dataset:
    with ReadOnlyStore(db) as reader:
        count = len(reader.rows(query(question)))
    return mined(question, db, query(question), sizes=(count, 0, 0), seed=0)


def prompt(question: str, example: dspy.Example, brackets: int) -> str:
    """The prompt of a question as a run sends it."""
    module = module_of(question, brackets=brackets)
    if question == "CastVote":
        module = ballot(module_of("CastVote"), list(example.truth["ballot"]))
    lineage = CallRecorder()
    ask(module, dict(example.inputs()), adapter="compact", lineage=lineage)
    return prompt_text(lineage.attempts[0].request)


@pytest.mark.slow
@pytest.mark.parametrize("question", METRIC)
def test_mined_prompts_are_those_of_the_run_byte_for_byte(question: str, db: str) -> None:
    examples = all_of(question, db).train
    with ReadOnlyStore(db) as reader:
        rows = reader.rows(
            f"SELECT run_id, year, agent, prompt FROM lm_calls WHERE signature = '{question}' AND attempt = 0"
        )
        schedules = {row["run_id"]: config_of(row).bracket_setting for row in reader.rows("SELECT * FROM runs")}
    stored = {(row["run_id"], row["year"], row["agent"]): row["prompt"] for row in rows}
    for example in examples:
        run_id = example.truth["run_id"]
        place = (run_id, example.truth["year"], example.truth.get("agent"))
        assert prompt(question, example, len(BRACKETS[schedules[run_id]])) == stored[place]
    assert len({e.truth["run_id"] for e in examples}) >= {"CastVote": 1, "WritePersona": 3}.get(question, 4)


@pytest.mark.slow
def test_the_year_behind_a_state_is_judged_as_the_store_judged_it(db: str) -> None:
    """Hours that were worked cost what the store says, but for the fractions of an hour that nobody can answer."""
    with ReadOnlyStore(db) as reader:
        rows = reader.rows("SELECT run_id, year, agent, labor, regret, best_labor, best_utility FROM decisions")
    decided = {(row["run_id"], row["year"], row["agent"]): row for row in rows}
    for example in all_of("ChooseLabor", db).train:
        row = decided[(example.truth["run_id"], example.truth["year"], example.truth["agent"])]
        assert abs(example.labor - row["best_labor"]) <= 1
        found = missed(example, dspy.Prediction(labor=int(row["labor"])))
        lost = row["regret"] - found.regret
        assert -0.01 <= lost <= 0.002 * row["best_utility"], "the best whole hour is worth nearly what the best one is"


@pytest.mark.slow
@pytest.mark.parametrize("question", ["ChooseLabor", "SetTaxRates", "CastVote"])
def test_mined_labels_score_one(question: str, db: str) -> None:
    for example in all_of(question, db).train:
        answer = dspy.Prediction(**bare(example).labels())
        assert METRICS[METRIC[question]].judge(example, answer).score == 1


def test_the_neighbours_of_a_mined_persona_are_those_of_its_run(db: str) -> None:
    with ReadOnlyStore(db) as reader:
        rows = reader.rows("SELECT run_id, agent, persona FROM agents ORDER BY run_id, agent")
    for example in all_of("WritePersona", db).train:
        mates = [row for row in rows if row["run_id"] == example.truth["run_id"]]
        others = [row["persona"] for row in mates if row["agent"] != example.truth["agent"]]
        assert example.truth["neighbours"] == others


def test_runs_of_one_population_are_never_split_apart(db: str) -> None:
    data = mined("ChooseLabor", db, query("ChooseLabor"), sizes=(40, 20, 10), seed=4)
    owners = [{e.truth["run_id"] for e in split} for split in (data.train, data.dev, data.test)]
    same = {1, 4, FORK}  # one seed, and so the same people
    assert sum(bool(same & owner) for owner in owners) <= 1
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert {e.economy_seed for e in data.train + data.dev + data.test if e.truth["run_id"] in same} <= {1}


def test_a_population_under_another_seed_is_still_one(db: str, tmp_path: Path) -> None:
    """Runs of other files may come with the same people and another seed, or with the same seed and others."""
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(Path(db).read_bytes())
    with Store(str(copy)) as store:
        store.connection.execute("UPDATE runs SET seed = 2 WHERE run_id = 4")  # the people of 1, the seed of 2
    chain = ASKED.format("ChooseLabor") + " AND run_id IN (1, 2, 4, 6)"
    data = mined("ChooseLabor", str(copy), chain, sizes=(60, 20, 0), seed=0)
    owners = [{e.truth["run_id"] for e in split} for split in (data.train, data.dev)]
    assert sorted(map(sorted, owners)) == [[1, 2, 4], [6]]
    assert {e.economy_seed for split in (data.train, data.dev) for e in split} == {1, 6}


@pytest.mark.slow
def test_the_draw_depends_on_the_seed_alone(db: str) -> None:
    first, again, other = (mined("ChooseLabor", db, query("ChooseLabor"), sizes=(20, 10, 5), seed=s) for s in (7, 7, 8))
    assert first.hash == again.hash != other.hash


def test_a_restored_world_equals_one_played_year_by_year(db: str) -> None:
    with ReadOnlyStore(db) as reader:
        for run_id in (3, FORK):
            config = config_of(find_run(reader, str(run_id)))
            for year, world in worlds(reader, run_id, config, [5, 1, 4, 5]):
                fresh = restore(reader, run_id, config, year)
                assert world.schedule == fresh.schedule
                assert world.leader == fresh.leader
                assert world.planner_memory == fresh.planner_memory
                for column in ("hours", "income", "tax", "value"):
                    rows = (each.memory.__dict__[column][each.memory.rows()] for each in (world, fresh))
                    np.testing.assert_array_equal(*rows)


def test_a_planner_on_new_brackets_has_forgotten_the_old_ones(db: str) -> None:
    with ReadOnlyStore(db) as reader:
        config = config_of(find_run(reader, str(FORK)))
        for year in (4, 5):
            records = restore(reader, FORK, config, year).planner_memory.records
            assert all(len(rates) == 1 for rates in records), "as in the fork itself, which began with an empty record"
            assert len(records) == year - 4


REFUSED = {
    "no such column": ("SELECT run_id, year FROM years", r"returns run_id, year without agent; select run_id"),
    "not a select": ("DROP TABLE runs", r"one SELECT|only SELECT"),
    "nothing": (ASKED.format("ChooseLabor") + " AND false", "no rows"),
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("case", REFUSED)
def test_queries_without_decisions_are_refused_in_one_line(case: str, db: str) -> None:
    text, why = REFUSED[case]
    with pytest.raises(UsageError, match=why) as refused:
        mined("ChooseLabor", db, text, sizes=(99, 0, 0), seed=0)
    assert "\n" not in str(refused.value)


UNKNOWN = {
    "no numbers": ("ChooseLabor", {"run_id": "a", "year": 0, "agent": 0}, "whole numbers, not a, 0, 0"),
    "no agent": ("ChooseLabor", {"run_id": 1, "year": 0, "agent": None}, "whole numbers, not 1, 0, None"),
    "no run": ("ChooseLabor", {"run_id": 99, "year": 0, "agent": 0}, "no run '99'"),
    "no such agent": ("ChooseLabor", {"run_id": 1, "year": 0, "agent": 9}, "agent 9: ChooseLabor was not asked there"),
    "never asked": (
        "SetTaxRates",
        {"run_id": 1, "year": 1},
        r"run 1, year 1: SetTaxRates was not asked.*\(1 such rows",
    ),
    "a leader": ("SetTaxRates", {"run_id": 3, "year": 2}, "run 3, year 2: SetTaxRates was not asked there"),
    "shared years": ("ChooseLabor", {"run_id": FORK, "year": 1, "agent": 0}, "was not asked there"),
    "no platforms": (
        "CastVote",
        {"run_id": 6, "year": 0, "agent": 0},
        "run 6, year 0, agent 0: candidates had no platf",
    ),
}


@pytest.mark.first_cases(5)
@pytest.mark.parametrize("case", UNKNOWN)
def test_places_without_a_question_or_an_answer_are_refused_in_one_line(case: str, db: str) -> None:
    question, row, why = UNKNOWN[case]
    with TraceDataset(question, db) as mine, pytest.raises(UsageError, match=why) as refused:
        mine.known([row])
    assert "\n" not in str(refused.value)


def test_the_hours_of_altruists_are_refused(db: str) -> None:
    with ReadOnlyStore(db) as reader:
        rows = reader.rows("SELECT run_id, 0 AS year, agent FROM agents WHERE run_id = 5")
    with (
        TraceDataset("ChooseLabor", db) as mine,
        pytest.raises(UsageError, match=r"does not maximize its own utility.*\(2 such rows"),
    ):
        mine.known(rows)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("rule", [name for name, rule in ELECTION_RULES.items() if rule.form not in ("name", None)])
def test_ballots_of_several_names_are_refused(rule: str, db: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(Path(db).read_bytes())
    with Store(str(copy)) as store:
        statement = "UPDATE runs SET config = json_merge_patch(config, ?::JSON) WHERE run_id = 3"
        store.connection.execute(statement, [json.dumps({"election_rule": rule})])
    with pytest.raises(UsageError, match=f"ballots of {rule} hold several names.*use runs with --election-rule plural"):
        mined("CastVote", str(copy), ASKED.format("CastVote") + " AND run_id = 3", sizes=(5, 0, 0), seed=0)


def test_an_interrupted_year_has_no_schedule(db: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(Path(db).read_bytes())
    with Store(str(copy)) as store:
        for table in ("years", "decisions"):
            store.connection.execute(f"DELETE FROM {table} WHERE run_id = 2 AND year = 5")
    text = ASKED.format("ChooseLabor") + " AND run_id = 2"
    with pytest.raises(UsageError, match=r"run 2, year 5, agent 0: the year was interrupted.*4 such rows"):
        mined("ChooseLabor", str(copy), text, sizes=(10, 0, 0), seed=0)
    assert len(mined("ChooseLabor", str(copy), text + " AND year < 5", sizes=(10, 0, 0), seed=0).train) == 10


def test_a_database_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.duckdb does not exist"):
        mined("ChooseLabor", str(tmp_path / "nowhere.duckdb"), "SELECT 1", sizes=(1, 0, 0), seed=0)


@pytest.mark.slow
def test_a_live_run_can_be_mined(tmp_path: Path) -> None:
    with running(years=100_000, seed=1) as process:
        until(lambda: year_of("economist.duckdb") >= 3)
        text = ASKED.format("ChooseLabor") + " AND year < 3"
        data = mined("ChooseLabor", "economist.duckdb", text, sizes=(15, 0, 0), seed=0)
        assert {e.truth["year"] for e in data.train} == {0, 1, 2}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
