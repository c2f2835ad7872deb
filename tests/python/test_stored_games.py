"""A Stackelberg game with `db` is a run of that database: the same rows as those of the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from support.command_line import CommandLine
from support.stores.stored_rows import rows

import llm_economist as le
from evals.testing.openai_server import Loopback, failure
from programs.models import Model, connect
from signatures.worker import ChooseLabor

SMALL: dict[str, Any] = {"num_agents": 3, "max_timesteps": 4, "two_timescale": 2}
FLAGS = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--seed", "5", "--llm", "rules")


@pytest.fixture(autouse=True)
def rules_answer() -> Iterator[None]:
    with dspy.context(lm=connect(Model("rules"))):
        yield


@pytest.mark.parametrize("scenario", ["rational", "democratic"])
def test_it_stores_the_rows_that_the_command_stores(cli: CommandLine, scenario: str) -> None:
    played = le.Stackelberg(**SMALL, scenario=scenario)(seed=5, db="game.duckdb")
    assert cli("run", *FLAGS, "--scenario", scenario, "--adapter", "chat", "--db", "command.duckdb").code == 0
    assert rows("game.duckdb") == rows("command.duckdb")
    run = le.open(played.db).run(played.run)
    assert (played.status, played.welfare, played.planner_share) == ("finished", run.welfare, run.planner_share)
    assert played.mean_regret == pytest.approx(run.regret)


def test_the_adapter_of_the_context_is_that_of_the_run(cli: CommandLine) -> None:
    with dspy.context(adapter=dspy.JSONAdapter()):
        le.Stackelberg(**SMALL)(seed=5, db="game.duckdb")
    assert cli("run", *FLAGS, "--adapter", "json", "--db", "command.duckdb").code == 0
    assert rows("game.duckdb") == rows("command.duckdb")


def test_a_tuned_role_is_stored_with_its_program_and_can_be_resumed(cli: CommandLine) -> None:
    game = le.Stackelberg(worker="cot", **SMALL)
    predictor = game.worker.choose_labor.predict
    predictor.signature = predictor.signature.with_instructions("Work as this test says.")
    played = game(seed=5, db="game.duckdb", max_timesteps=2)
    prompts = le.open(played.db).sql("SELECT DISTINCT strategy, prompt FROM calls WHERE signature = 'ChooseLabor'")
    assert all(strategy == "cot" and "as this test says" in prompt for strategy, prompt in prompts.fetchall())
    ((name,),) = le.open(played.db).sql("SELECT DISTINCT program FROM calls WHERE program IS NOT NULL").fetchall()
    assert cli("replay", "1", "--db", "game.duckdb", "--allow-file", name).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", [dspy.ChainOfThought, dspy.ChainOfThought(ChooseLabor), "cot"])
def test_every_form_of_a_strategy_stores_the_same_run(part: Any) -> None:
    le.Stackelberg(worker=part, **SMALL)(seed=5, db="game.duckdb")
    le.simulate(strategy={"worker": "cot"}, llm="rules", adapter="chat", seed=5, db="simulated.duckdb", **SMALL)
    same = "SELECT year, agent, labor, regret FROM decisions ORDER BY ALL"
    assert le.open("game.duckdb").sql(same).fetchall() == le.open("simulated.duckdb").sql(same).fetchall()


def test_each_role_is_asked_of_its_own_model_and_failures_are_counted() -> None:
    with Loopback() as server:
        server.fault = lambda number, body: failure(400, "no") if number >= 2 else None
        game = le.Stackelberg(worker="rules", voter="rules", persona="rules", **SMALL)
        game.planner.set_lm(dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="sk-test", cache=False))
        with dspy.context(lm=None):
            played = game(seed=5, db="game.duckdb")
    asked = le.open(played.db).sql("SELECT DISTINCT role, model FROM calls WHERE role <> 'preflight' ORDER BY ALL")
    assert asked.fetchall() == [("planner", "openai/gpt-4o-mini"), ("worker", "rules")]
    assert (played.asked, played.failed) == (2, 1)


def test_a_cap_ends_the_game_with_the_years_played_so_far() -> None:
    with Loopback() as server:
        lm = dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="sk-test", cache=False, max_tokens=100)
        with dspy.context(lm=lm):
            whole = le.Stackelberg(**SMALL)(seed=5, db="game.duckdb")
            tokens = le.open("game.duckdb").sql("SELECT sum(prompt_tokens + completion_tokens) FROM calls").fetchall()
            played = le.Stackelberg(**SMALL)(seed=5, db="game.duckdb", max_tokens=int(tokens[0][0] * 0.7))
    assert (whole.status, played.status, played.mean_hours > 0) == ("finished", "stopped", True)
    assert le.open(played.db).run(played.run).status == "stopped"


def test_games_played_at_once_share_a_database() -> None:
    game = le.Stackelberg(**SMALL)

    async def both() -> list[dspy.Prediction]:
        return await asyncio.gather(*(game.acall(seed=seed, db="game.duckdb") for seed in (5, 6)))

    played = asyncio.run(both())
    assert sorted(one.run for one in played) == [1, 2]
    assert {one.welfare for one in played} == {run.welfare for run in map(le.open("game.duckdb").run, (1, 2))}


class Local(dspy.Module):
    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return dspy.Prediction(labor=40)


class Odd(dspy.ChatAdapter):
    pass


@pytest.mark.parametrize(
    ("make", "call", "words"),
    [
        ({}, {"db": "game.txt/x"}, "game.txt/x"),
        ({"worker": Local()}, {"db": "game.duckdb"}, "Local"),
        ({}, {"name": "a"}, "db='FILE' stores the run"),
        ({}, {"db": "game.duckdb", "llm": "gpt-4o"}, "llm='gpt-4o'"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_one_line(make: Any, call: Any, words: str) -> None:
    with pytest.raises((le.UsageError, le.StoreError)) as refused:
        le.Stackelberg(**make, **SMALL)(seed=5, **call)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_adapter_of_the_users_own_is_refused_where_a_run_is_stored() -> None:
    with dspy.context(adapter=Odd()), pytest.raises(le.UsageError, match="Odd: a stored run has the adapter"):
        le.Stackelberg(**SMALL)(seed=5, db="game.duckdb")


def test_two_models_in_one_role_are_refused_where_a_run_is_stored() -> None:
    game = le.Stackelberg(**SMALL)
    game.worker.choose_labor.lm = connect(Model("rules"))
    with pytest.raises(le.UsageError, match="worker: its predictors have 2 language models"):
        game(seed=5, db="game.duckdb")
