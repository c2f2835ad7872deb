"""Models, strategies and tuned modules given to `simulate` as objects are stored and used like those given by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest
from support.command_line import CommandLine
from support.stores.stored_rows import rows

import llm_economist as le
from evals.testing.openai_server import Loopback, failure
from programs.models import Model, connect
from signatures.planner import SetTaxRates
from signatures.worker import ChooseLabor

SMALL: dict[str, Any] = {"num_agents": 3, "max_timesteps": 4, "two_timescale": 2}


def model_of(server: Loopback, **other: Any) -> dspy.LM:
    return dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="sk-secret-of-this-test", **other)


def twice(signature: type[dspy.Signature]) -> dspy.Module:
    return dspy.ChainOfThought(signature)


class Hidden:
    def __call__(self, signature: type[dspy.Signature]) -> dspy.Module:
        return dspy.Predict(signature)


def test_a_model_object_is_asked_with_its_own_settings_and_every_attempt_is_stored() -> None:
    with Loopback() as server:
        server.fault = lambda number, body: failure(503, "busy") if number == 3 else None
        run = le.simulate(llm=model_of(server, temperature=0.3, max_tokens=77, cache=True), db="a.duckdb", **SMALL)
    assert run.status == "finished"
    asked = run.calls.filter("role <> 'preflight'")
    assert asked.aggregate("count(*) filter (status = 'ok')").fetchall() == [(14,)]
    assert asked.aggregate("count(*) filter (status <> 'ok')").fetchall() == [(1,)]
    assert asked.filter("status <> 'ok'").select("status").fetchall() == [("server_error",)]
    questions = [body for body in server.requests if "OK." not in str(body)]
    assert {(body["temperature"], body["max_completion_tokens"]) for body in questions} == {(0.3, 77)}
    assert run.sql("SELECT llm FROM runs").fetchall() == [("openai/gpt-4o-mini",)]
    assert b"sk-secret-of-this-test" not in Path("a.duckdb").read_bytes()


def test_rules_as_an_object_are_rules_by_name() -> None:
    le.simulate(llm=connect(Model("rules")), db="a.duckdb", **SMALL)
    le.simulate(llm="rules", db="b.duckdb", **SMALL)
    assert rows("a.duckdb") == rows("b.duckdb")


def test_a_role_can_have_a_model_object_of_its_own() -> None:
    with Loopback() as server:
        le.simulate(llm="rules", role_llm={"planner": model_of(server)}, db="a.duckdb", **SMALL)
    found = le.open("a.duckdb").sql("SELECT DISTINCT role, model FROM calls WHERE role <> 'preflight' ORDER BY ALL")
    assert found.fetchall() == [("planner", "openai/gpt-4o-mini"), ("worker", "rules")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "name"), [(dspy.Predict, "io"), (dspy.ChainOfThought, "cot"), (twice, f"{twice.__module__}:twice")]
)
def test_a_strategy_given_as_a_class_or_function_is_stored_by_its_name(given: Any, name: str) -> None:
    run = le.simulate(llm="rules", strategy={"worker": given}, db="a.duckdb", **SMALL)
    assert run.sql("SELECT DISTINCT strategy FROM calls WHERE role = 'worker'").fetchall() == [(name,)]
    again = le.simulate(llm="rules", strategy={"worker": name}, db="b.duckdb", **SMALL)
    assert run.decisions.fetchall() == again.decisions.fetchall()


def test_a_tuned_module_is_stored_in_a_file_that_the_command_line_reads(cli: CommandLine) -> None:
    worker = dspy.ChainOfThought(ChooseLabor)
    worker.predict.signature = worker.predict.signature.with_instructions("Work as this test says.")
    run = le.simulate(llm="rules", program={"worker": worker}, db="a.duckdb", **SMALL)
    asked = run.calls.filter("role = 'worker'").aggregate(
        "bool_and(prompt LIKE '%as this test says%'), any_value(program)"
    )
    ((all_of_them, file),) = asked.fetchall()
    assert all_of_them
    args = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
    ran = cli("run", *args, "--program", f"worker={file}", "--strategy", "worker=cot", "--db", "b.duckdb")
    assert ran.code == 0, ran.err
    assert le.open("b.duckdb").run(1).decisions.fetchall() == run.decisions.fetchall()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": {"worker": lambda signature: dspy.Predict(signature)}}, "module:Name"),
        ({"strategy": {"worker": Hidden()}}, "module:Name"),
        ({"program": {"planner": dspy.Predict(ChooseLabor)}}, "answers questions of role worker, not of planner"),
        ({"program": {"boss": dspy.Predict(SetTaxRates)}}, "no role 'boss'"),
        ({"llm": connect(Model("rules")), "processes": 2}, "answers in one process"),
        (
            {"llm": connect(Model("rules")), "role_llm": {"planner": connect(Model("rules"))}},
            "two different objects are given for the model rules",
        ),
    ],
)
def test_an_object_that_a_run_cannot_store_is_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(le.UsageError) as refused:
        le.simulate(**{"llm": "rules", **SMALL, "db": "a.duckdb", **settings})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(Path().glob("*.duckdb"))
    assert not list(Path().glob("*.json"))
