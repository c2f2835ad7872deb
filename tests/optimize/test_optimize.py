"""`llm-economist optimize` through the command line: killed and resumed, interrupted, refused, and its file in use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dspy import lm15
from support.command_line import CommandLine
from support.models.pupil import KEYWORD, Pupil, served

from evals.testing.openai_server import Loopback, failure
from pipeline.config import ROLES
from programs.roles import saved_program

SMALL = ("--sizes", "5,4,5", "--demos", "2", "--seed", "7", "--max-timesteps", "4")
ON_SERVER = ("worker", "--optimizer", "bootstrap_rs", "--llm", "gpt-4o-mini", "--concurrency", "4", "--budget", "80")


def stored(db: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def process(*args: str) -> Iterator[subprocess.Popen[str]]:
    """The program in a process of its own, which is not left behind."""
    command = [sys.executable, "-m", "evals", "optimize", *args, *SMALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def wait_for_requests(server: Loopback, count: int, asking: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while len(server.requests) < count:
        assert time.monotonic() < deadline
        assert asking.poll() is None, asking.communicate()
        time.sleep(0.01)


def on_server(cli: CommandLine, server: Loopback, name: str) -> Any:
    args = ("--base-url", server.url, "--db", f"{name}.duckdb", "-o", f"{name}.json")
    return cli("optimize", *ON_SERVER, *SMALL, *args)


@pytest.mark.slow
@pytest.mark.usefixtures("a_key")
def test_a_killed_study_resumes_without_repeated_calls_and_writes_the_same_bytes(cli: CommandLine) -> None:
    with Loopback(fault=served) as server:
        assert on_server(cli, server, "whole").code == 0
        total = len(server.requests)
    with Loopback(fault=partial(served, delay=0.05)) as server:
        args = (*ON_SERVER, "--base-url", server.url, "--db", "cut.duckdb", "-o", "cut.json")
        with process(*args) as killed:
            wait_for_requests(server, total // 2, killed)
    assert not Path("cut.json").exists()
    ((have,),) = stored("cut.duckdb", "SELECT count(*) FROM lm_calls WHERE response IS NOT NULL")
    assert 0 < have < total
    with Loopback(fault=served) as server:
        result = on_server(cli, server, "cut")
        assert len(server.requests) == total - have, "no stored reply is asked for again"
    assert f"{have} of its stored calls are reused" in result.out
    assert Path("cut.json").read_bytes() == Path("whole.json").read_bytes()
    same = "SELECT trial, split, score, scores, program FROM optimizer_trials ORDER BY trial"
    assert stored("cut.duckdb", same) == stored("whole.duckdb", same)
    assert stored("cut.duckdb", "SELECT status, calls FROM studies") == [("finished", total)]
    with Loopback(fault=served) as server:
        assert on_server(cli, server, "cut").code == 0
        assert not server.requests, "what is finished costs nothing"


@pytest.mark.slow
@pytest.mark.usefixtures("a_key")
def test_an_interrupted_study_says_how_to_resume(cli: CommandLine) -> None:
    with Loopback(fault=partial(served, delay=0.05)) as server:
        with process(*ON_SERVER, "--base-url", server.url, "--db", "a.duckdb") as stopped:
            wait_for_requests(server, 20, stopped)
            stopped.terminate()
            said, _ = stopped.communicate(timeout=60)
        asked = len(server.requests)
    assert stopped.returncode == 143, said
    assert "repeat the command to resume" in said
    assert stored("a.duckdb", "SELECT status FROM studies") == [("interrupted",)]
    assert stored("a.duckdb", "SELECT count(*) FROM lm_calls") == [(asked,)], "every reply is stored"


@pytest.mark.slow
@pytest.mark.usefixtures("a_key")
def test_a_lost_server_is_reported_in_one_line_and_the_study_is_kept(cli: CommandLine) -> None:
    def leaving(number: int, body: dict[str, Any]) -> Any:
        return served(number, body) if number < 10 else failure(401, "no such key", retry_after=0)

    with Loopback(fault=leaving) as server:
        result = on_server(cli, server, "a")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "the key was refused" in result.err
    assert "repeat the command to resume" in result.err
    assert stored("a.duckdb", "SELECT status FROM studies") == [("failed",)]
    with Loopback(fault=served) as server:
        assert on_server(cli, server, "a").code == 0


@pytest.fixture
def a_key(cli: CommandLine) -> None:
    cli.monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up-for-a-test")
    cli.forget_environment()


def test_a_tuned_program_is_reported_stored_and_usable(cli: CommandLine) -> None:
    result = cli(
        "optimize",
        "worker",
        "--optimizer",
        "labeled",
        "--llm",
        "engine:support.models.pupil:Pupil",
        *SMALL,
        "--sizes",
        "5,4,20",
    )
    assert result.code == 0, result.err
    assert "Better: the mean score changed by +" in result.out
    (study,) = cli.sql("SELECT * FROM studies", "economist.duckdb")
    assert (study["status"], study["role"], study["question"]) == ("finished", "worker", "ChooseLabor")
    assert study["test_low"] > 0
    assert study["test_after"] > study["test_before"]
    (calls,) = cli.sql("SELECT count(*) AS n FROM lm_calls WHERE study IS NOT NULL", "economist.duckdb")
    assert study["calls"] == calls["n"]
    record = json.loads(Path("worker.io.json").read_text())
    assert (record["strategy"], record["adapter"], record["model"]) == (
        "io",
        "compact",
        "engine:support.models.pupil:Pupil",
    )
    assert record["tuned"]["scores"]["test"] == {
        "before": round(study["test_before"], 6),
        "after": round(study["test_after"], 6),
        "examples": 20,
    }
    assert record["tuned"]["data_hash"] == study["data_hash"]
    tuned, other = (record["predictors"][name] for name in ("choose_labor", "judge_tax_policy"))
    assert len(tuned["demos"]) == 2
    assert other["demos"] == [], "only the tuned question changes"
    assert "economy_seed" not in Path("worker.io.json").read_text()
    assert "truth" not in Path("worker.io.json").read_text()
    used = re.search(r"Use it: uv run llm-economist (run .*)", result.out)
    assert used is not None
    run = cli(*used[1].split(), "--max-timesteps", "1", "--planner-type", "US_FED")
    assert run.code == 0, run.err
    assert "Caution: " not in run.out, "the program is used with the model that it was tuned for"
    (prompt,) = cli.sql("SELECT prompt FROM calls WHERE run_id = 1 AND role = 'worker' LIMIT 1", "economist.duckdb")
    assert prompt["prompt"].count("### assistant") == 2


def test_labelled_demonstrations_show_both_phases(cli: CommandLine) -> None:
    engine = ("--llm", "engine:support.models.pupil:Pupil", "--num-agents", "2", "--max-timesteps", "6")
    shown = ("--demos", "4", "--sizes", "16,4,4", "--budget", "60", "--two-timescale", "3")
    result = cli("optimize", "worker", "--optimizer", "labeled", *engine, *shown)
    assert result.code == 0, result.err
    demos = json.loads(Path("worker.io.json").read_text())["predictors"]["choose_labor"]["demos"]
    assert sorted(demo["phase"] for demo in demos) == ["exploit", "exploit", "explore", "explore"]


def test_a_file_that_was_tuned_for_another_model_or_format_is_used_with_a_caution(cli: CommandLine) -> None:
    assert cli("optimize", "worker", "--optimizer", "labeled", "--llm", "rules", *SMALL).code == 0
    args = ("--program", "worker=worker.io.json", "--adapter", "json", "--llm", "engine:support.models.pupil:Pupil")
    result = cli("run", *args, "--max-timesteps", "1", "--planner-type", "US_FED")
    assert result.code == 0, result.err
    assert "Caution: --program worker=worker.io.json was tuned with adapter compact, and runs with json" in result.out
    assert "was tuned with model rules, and runs with engine:support.models.pupil:Pupil" in result.out


@pytest.mark.slow
def test_a_change_on_one_held_out_example_has_no_interval(cli: CommandLine) -> None:
    args = ("--optimizer", "labeled", "--sizes", "6,6,1", "--num-agents", "3", "--budget", "200")
    result = cli("optimize", "worker", "--llm", "engine:support.models.pupil:Pupil", *args)
    assert result.code == 0, result.err
    assert "one example gives no interval" in result.out
    assert "nan" not in result.out
    with duckdb.connect("economist.duckdb", read_only=True) as connection:
        query = "select test_before is null, test_low, test_high from studies"
        assert connection.execute(query).fetchall() == [(False, None, None)]


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_be_tuned_and_its_file_loads(role: str, cli: CommandLine) -> None:
    result = cli("optimize", role, "--optimizer", "bootstrap", "--llm", "rules", *SMALL, "--strategy", "cot")
    assert result.code == 0, result.err
    assert saved_program.read(f"{role}.cot.json")["role"] == role
    scenario = ("--scenario", "democratic", "--platforms", "--num-agents", "3", "--max-timesteps", "2")
    run = cli("run", "--llm", "rules", "--program", f"{role}={role}.cot.json", "--prompt-algo", "cot", *scenario)
    assert run.code == 0, run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "optimizer", "llm"),
    [("planner", "bootstrap", "rules"), ("worker", "gepa", "engine:support.models.pupil:Pupil")],
)
def test_a_role_can_be_tuned_for_the_welfare_of_whole_economies(
    role: str, optimizer: str, llm: str, cli: CommandLine
) -> None:
    args = ("--metric", "episode", "--optimizer", optimizer, "--sizes", "3,2,2", "--budget", "150", "--llm", llm)
    result = cli("optimize", role, *args, "--max-timesteps", "2", "--two-timescale", "1", "--num-agents", "2")
    assert result.code == 0, result.err
    assert "by episode" in result.out
    rows = cli.sql("SELECT DISTINCT role FROM lm_calls", "economist.duckdb")
    assert {row["role"] for row in rows} == {role} | ({"optimizer"} if optimizer == "gepa" else set())
    saved = saved_program.read(f"{role}.io.json")
    assert set(saved["predictors"]) >= {"choose_labor" if role == "worker" else "set_tax_rates"}
    if optimizer == "gepa":
        assert KEYWORD in saved["predictors"]["choose_labor"]["instruction"]
        assert saved["tuned"]["scores"]["test"]["after"] > saved["tuned"]["scores"]["test"]["before"]


@pytest.mark.slow
def test_states_of_stored_runs_can_be_tuned_on(cli: CommandLine) -> None:
    for seed in ("1", "2", "3"):
        assert cli("run", "--llm", "rules", "--max-timesteps", "5", "--seed", seed).code == 0
    query = "SELECT run_id, year, agent FROM decisions WHERE year > 1"
    result = cli("optimize", "worker", "--optimizer", "labeled", "--llm", "rules", *SMALL, "--from-sql", query)
    assert result.code == 0, result.err
    asked = "SELECT count(*) AS n FROM lm_calls WHERE study IS NOT NULL AND signature = 'ChooseLabor'"
    assert cli.sql(asked, "economist.duckdb")[0]["n"] > 0


@pytest.mark.slow
def test_examples_that_are_chosen_for_each_question_come_from_labels(cli: CommandLine) -> None:
    engine = ("--llm", "engine:support.models.pupil:Pupil", *SMALL, "--strategy", "knn@2", "--demos", "5")
    result = cli("optimize", "worker", "--optimizer", "labeled", *engine, "-o", "near.json")
    assert result.code == 0, result.err
    saved = saved_program.read("near.json")
    assert len(saved["predictors"]["choose_labor.answer"]["demos"]) == 5
    assert saved["tuned"]["scores"]["test"]["after"] > saved["tuned"]["scores"]["test"]["before"]
    args = ("--llm", "engine:support.models.pupil:Pupil", "--program", "worker=near.json", "--strategy", "worker=knn@2")
    assert cli("run", *args, "--num-agents", "2", "--max-timesteps", "2", "--db", "near.duckdb").code == 0
    counted = "SELECT DISTINCT len(regexp_extract_all(prompt, 'You earn')) AS n FROM calls WHERE role = 'worker'"
    assert cli.sql(counted, "near.duckdb") == [{"n": 3}]


@pytest.mark.slow
def test_tuning_starts_from_a_given_program_file(cli: CommandLine) -> None:
    engine = ("--llm", "engine:support.models.pupil:Pupil", *SMALL)
    assert cli("optimize", "worker", "--optimizer", "labeled", *engine, "-o", "first.json").code == 0
    result = cli("optimize", "worker", "--optimizer", "copro", *engine, "--program", "first.json", "-o", "second.json")
    assert result.code == 0, result.err
    first, second = (saved_program.read(name)["tuned"]["scores"]["test"] for name in ("first.json", "second.json"))
    assert second["before"] == first["after"]
    assert "FAMILY" in Path("second.json").read_text()


@pytest.mark.slow
def test_dollars_are_a_hard_limit(cli: CommandLine) -> None:
    Path("prices.toml").write_text('[models."engine:support.models.pupil:Pupil"]\ninput = 10\noutput = 10\n')
    args = ("--llm", "engine:support.models.pupil:Pupil", *SMALL, "--max-output-tokens", "20")
    result = cli("optimize", "worker", "--optimizer", "bootstrap_rs", *args, "--max-cost-usd", "0.1")
    assert result.code == 0, result.err
    (study,) = cli.sql("SELECT status, cost_usd, error FROM studies", "economist.duckdb")
    assert 0.02 < study["cost_usd"] <= 0.1
    if study["status"] == "stopped":
        assert "--max-cost-usd 0.1 is used up" in result.out


class Refusing(Pupil):
    def complete(self, request: lm15.Request) -> lm15.Response:
        raise AssertionError("nothing may be asked")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["baker"], "role 'baker': choose one of worker, planner, voter, persona"),
        (["worker", "--optimizer", "adam"], "--optimizer 'adam': choose one of labeled, bootstrap"),
        (["worker", "--metric", "vote_quality"], "judges CastVote; for role worker use regret, information, episode"),
        (["worker", "--metric", "taste"], "no metric 'taste': choose one of regret"),
        (["worker", "--sizes", "10,10"], "--sizes '10,10': expected examples for training, development and test"),
        (["worker", "--sizes", "10,0,10"], "--sizes '10,0,10'"),
        (["worker", "--strategy", "guess"], "unknown strategy 'guess'"),
        (["worker", "--strategy", "knn", "--optimizer", "copro"], "knn selects examples for each question"),
        (["worker", "--wandb"], "--wandb does not apply to optimize"),
        (["worker", "-o", "nowhere/file.json"], "the folder nowhere does not exist"),
        (["worker", "-o", "notes.txt"], "notes.txt exists and is not a program file"),
        (["worker", "--program", "missing.json"], "missing.json does not exist"),
        (["worker", "--max-cost-usd", "1"], "no price is known for engine:test_optimize:Refusing"),
        (["worker", "--demos", "0"], "--optimizer bootstrap_rs changes only demonstrations"),
        (["worker", "--metric", "episode", "--from-sql", "SELECT 1"], "use one of them"),
        (["persona", "--optimizer", "labeled"], "there are none for role persona"),
        (["planner", "--optimizer", "labeled", "--metric", "episode"], "there are none for whole economies"),
        (["worker", "--optimizer", "gepa", "--reflection-llm", "rules"], "which `rules` cannot"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_requests_are_refused_in_one_line_before_any_call(
    args: list[str], said: str, cli: CommandLine
) -> None:
    Path("notes.txt").write_text("my notes")
    result = cli("optimize", *args, "--llm", "engine:test_optimize:Refusing")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert said in result.err
    assert not Path("economist.duckdb").exists()
    assert Path("notes.txt").read_text() == "my notes"
