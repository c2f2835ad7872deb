"""Examples for `knn`: the best stored decisions, read back from prompts of any format, kept with their run."""

from __future__ import annotations

import json

import dspy
import pytest
from support.models.scripted_hours import hours
from support.village import Scripted, ask, inputs_of, module_of, scripted_lm

from evals.testing.openai_server import Loopback
from pipeline.agents.call_trace import prompt_text
from pipeline.agents.examples import inputs_of as read_back
from pipeline.agents.examples import pools
from pipeline.agents.roles import QUESTIONS
from pipeline.config import RunConfig
from programs.adapters.repairing import ADAPTERS

EARLIER = ("--llm", "rules", "--num-agents", "4", "--max-timesteps", "12", "--two-timescale", "4", "--db", "a.duckdb")
LATER = ("run", "--llm", "rules", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--seed", "7")


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_inputs_of_a_stored_prompt_are_those_that_were_shown(question: str, adapter: str) -> None:
    from support.village import CallRecorder

    lineage, inputs = CallRecorder(), inputs_of(question)
    ask(module_of(question), inputs, adapter=adapter, lineage=lineage)
    assert read_back(prompt_text(lineage.attempts[0].request)) == {name: str(value) for name, value in inputs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_examples_are_the_decisions_with_the_least_regret(cli, adapter):
    cli("run", *EARLIER, "--adapter", adapter)
    result = cli(*LATER, "--adapter", adapter, "--prompt-algo", "knn", "--db", "a.duckdb")
    assert "Examples from the decisions in a.duckdb: SetTaxRates 3, ChooseLabor 48" in result.out
    (row,) = cli.sql("select state from programs where run_id = 2 and role = 'worker'", "a.duckdb")
    state = row["state"] if isinstance(row["state"], dict) else json.loads(row["state"])
    said = [example["labor"] for example in state["pool"]["ChooseLabor"]]
    ranked = cli.sql(
        "select labor from decisions where run_id = 1 order by regret / best_utility, call_id desc", "a.duckdb"
    )
    assert said[:10] == [row["labor"] for row in ranked[:10]]
    (row,) = cli.sql("select prompt from lm_calls where run_id = 2 and signature = 'ChooseLabor' limit 1", "a.duckdb")
    assert row["prompt"].count("### assistant") == 4


def test_a_run_without_a_past_says_that_it_asks_without_examples(cli):
    result = cli(*LATER, "--prompt-algo", "knn", "--db", "a.duckdb")
    assert result.code == 0
    assert "a.duckdb has no decisions yet to choose from; knn asks without examples" in result.out


@pytest.mark.slow
def test_decisions_under_other_brackets_or_another_objective_are_no_examples(cli):
    cli("run", *EARLIER)
    modules = {"ChooseLabor": module_of("ChooseLabor", "knn")}
    for settings, expected in (({}, 48), ({"bracket_setting": "flat"}, 0), ({"welfare": "rawlsian"}, 0)):
        found = pools(modules, RunConfig(db="a.duckdb", **settings))
        assert len(found["ChooseLabor"]) == expected


@pytest.mark.slow
def test_a_resumed_run_has_the_examples_that_it_began_with(cli):
    cli("run", *EARLIER)
    with Loopback() as server:
        args = ("--llm", "gpt-4o-mini", "--base-url", server.url, "--num-agents", "3", "--two-timescale", "2")
        args = (*args, "--prompt-algo", "knn", "--db", "a.duckdb", "--max-tokens", "60000", "--max-timesteps", "30")
        stopped = cli("run", *args)
        assert "stopped:" in stopped.out
        cli("run", *EARLIER, "--seed", "9")
        assert cli("resume", "2", "--max-tokens", "900000", "--db", "a.duckdb").code == 0
    assert "every row is the same" in cli("replay", "2", "--db", "a.duckdb").out


def test_an_example_is_shown_with_its_answer_only() -> None:
    module = module_of("ChooseLabor", "knn@1")
    module.learn([{**inputs_of("ChooseLabor"), "labor": 33}])
    engine = Scripted([hours(40)])
    ask(module, inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert "33" in (engine.requests[0].messages[1].text or "")


@pytest.mark.slow
def test_a_comparison_with_knn_needs_examples_that_it_does_not_make_itself(cli):
    cli("run", *EARLIER)
    args = ("compare", "worker=io", "worker=knn", "--seeds", "1", "--llm", "rules", *LATER[3:9], "--db", "b.duckdb")
    refused = cli(*args)
    assert refused.code == 2
    assert "the strategy knn in a comparison needs --examples FILE" in refused.err
    assert cli(*args, "--examples", "c.duckdb").code == 2
    assert cli(*args, "--examples", "a.duckdb").code == 0
    rows = cli.sql("select distinct prompt like '%### assistant%' shown from lm_calls where run_id = 2", "b.duckdb")
    assert {"shown": True} in rows


def test_demonstrations_of_a_tuned_program_are_what_it_chooses_from() -> None:
    module = module_of("ChooseLabor", "knn@1")
    module.learn([{**inputs_of("ChooseLabor"), "labor": 33}])
    (predictor,) = module.predictors()
    predictor.demos = [dspy.Example({**inputs_of("ChooseLabor"), "labor": 77})]
    assert [demo["labor"] for demo in module.nearest(inputs_of("ChooseLabor"))] == [77]
