"""Several roles of one game are tuned jointly, in turn and alone, and compared on held-out economies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine

from evals.optimize.plan import OptimizeRequest
from evals.optimize.together import METHODS, Together
from evals.optimize.together_command import prepare_together
from evals.output.console import Console
from evals.testing.openai_server import Loopback

SMALL = ("--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--sizes", "3,3,4", "--llm", "rules")
DB = "economist.duckdb"
COMMAND = ("optimize", "worker,planner", *SMALL, "--budget", "1500")


@pytest.fixture
def tuned(cli: CommandLine) -> Any:
    result = cli(*COMMAND)
    assert result.code == 0, result.err
    return result


@pytest.mark.slow
def test_the_games_are_compared_on_held_out_economies_and_files_are_written(cli: CommandLine, tuned: Any) -> None:
    for name in ("untuned", *METHODS):
        assert re.search(rf"\n +{name} ", tuned.out)
    assert "Alternating rounds: " in tuned.out
    records = [json.loads(Path(f"{role}.io.json").read_text()) for role in ("worker", "planner")]
    assert [record["role"] for record in records] == ["worker", "planner"]
    assert records[0]["tuned"]["scores"] == records[1]["tuned"]["scores"]
    assert records[0]["tuned"]["scores"]["test"]["examples"] == 4
    args = ("--program", "worker=worker.io.json,planner=planner.io.json", "--num-agents", "2", "--max-timesteps", "2")
    assert cli("run", *args, "--llm", "rules").code == 0


@pytest.mark.slow
def test_every_search_is_a_study_whose_calls_name_their_role(cli: CommandLine, tuned: Any) -> None:
    studies = cli.sql("SELECT study, role, question, status FROM studies", DB)
    assert {(row["role"], row["question"], row["status"]) for row in studies} == {
        ("worker,planner", "Episode", "finished")
    }
    assert len(studies) >= 6, "comparison, two alone, joint, and a round of two"
    asked = cli.sql("SELECT DISTINCT role, signature FROM lm_calls WHERE study IS NOT NULL", DB)
    assert {tuple(row.values()) for row in asked} == {("worker", "ChooseLabor"), ("planner", "SetTaxRates")}


@pytest.mark.slow
def test_repeating_the_command_asks_nothing_and_writes_the_same_bytes(cli: CommandLine, tuned: Any) -> None:
    written = {path.name: path.read_bytes() for path in Path().glob("*.json")}
    again = cli(*COMMAND)
    assert again.code == 0
    assert ", 0 of them new" in again.out
    assert {path.name: path.read_bytes() for path in Path().glob("*.json")} == written
    assert again.out.partition("Games compared")[2].partition("calls in all")[0].count("\n") > 5


def test_an_optimizer_changes_only_the_free_roles() -> None:
    order = OptimizeRequest("worker,planner", "bootstrap_rs", sizes="1,1,1")
    plans = prepare_together(order, {"llm": "rules", "num_agents": 2, "max_timesteps": 2, "two_timescale": 2})
    together = Together(plans, Console(quiet=True))
    free = {
        roles: {name for name, _ in together.game({}, free=roles).named_predictors()}
        for roles in (("worker",), ("planner",), ("worker", "planner"))
    }
    assert free["worker",] == {"worker.choose_labor", "worker.judge_tax_policy"}
    assert free["planner",] == {"planner.set_tax_rates"}
    assert free["worker", "planner"] == free["worker",] | free["planner",]
    alone = together.game({}, free=("worker",), others=False)
    assert alone.own_module("SetTaxRates") is None, "rules answer for the planner"
    assert together.game({}, free=("worker",)).own_module("SetTaxRates") is not None


def test_a_cap_on_tokens_is_refused(cli: CommandLine) -> None:
    capped = cli(*COMMAND, "--max-tokens", "9000")
    assert capped.code == 2
    assert "--max-tokens" in capped.err


def optimize(server: Loopback, db: str, *, interrupt: threading.Event | None = None) -> tuple[int, str]:
    """Exit code and output of tuning both roles on a server; with `interrupt`, Ctrl-C once it is set."""
    command = [
        *(sys.executable, "-m", "evals", "optimize", "worker,planner", *SMALL[:6], "--sizes", "2,2,2"),
        *("--budget", "900", "--llm", "gpt-4o-mini", "--base-url", server.url, "--db", db, "--temperature", "0"),
    ]
    env = {**os.environ, "OPENAI_API_KEY": "sk-test"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        if interrupt is not None:
            assert interrupt.wait(120)
            process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=240)
    return process.returncode, out


def tuned_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().glob("*.io.json")}


@pytest.mark.slow
def test_an_interrupted_search_on_a_server_is_resumed_without_asking_again() -> None:
    with Loopback() as server:
        code, out = optimize(server, "whole.duckdb")
        assert code == 0, out
        whole, files = len(server.requests), tuned_files()
    assert set(files) == {"worker.io.json", "planner.io.json"}
    for name in files:
        Path(name).unlink()
    half = threading.Event()
    with Loopback() as server:
        server.fault = lambda number, body: half.set() if number == whole // 2 else None
        code, out = optimize(server, "halves.duckdb", interrupt=half)
        assert (code, tuned_files()) == (130, {}), out
        server.fault = lambda number, body: None
        code, out = optimize(server, "halves.duckdb")
        assert code == 0, out
        again = len(server.requests) - whole
    assert tuned_files() == files
    assert again <= 12, "preflights, and what was in flight when it was interrupted"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("worker,worker",), "expected each role once"),
        (("worker,plannner",), "role 'plannner': choose one of"),
        (("planner,voter",), "no economy has both a planner and elections"),
        (("worker,planner", "--metric", "regret"), "several roles are tuned with --metric episode"),
        (("worker,planner", "-o", "best.json"), "put {role} into its name"),
        (("worker,planner", "--optimizer", "labeled"), "use bootstrap_rs or gepa"),
        (("worker,planner", "--optimizer", "gepa"), "--reflection-llm"),
        (("worker,planner", "--optimizer", "layouts"), "compares the layouts of one role"),
        (("worker,planner", "--program", "x.json"), "name its role"),
        (("worker,planner", "--role-llm", "planner=rules"), "one model answers all roles"),
        (("worker,planner", "--budget", "60"), "give --budget "),
    ],
)
def test_what_cannot_be_tuned_together_is_refused_in_one_line(
    cli: CommandLine, args: tuple[str, ...], words: str
) -> None:
    refused = cli("optimize", *args, *SMALL)
    assert refused.code == 2
    assert words in refused.err
    assert refused.err.strip().count("\n") == 0
    assert not list(Path().glob("*.json"))
