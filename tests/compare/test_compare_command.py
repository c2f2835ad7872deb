"""The command `compare`: reused runs, dry runs, and impossible requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import CommandLine
from support.models.tuned_program import tuned
from support.runs.small_comparisons import RULES, SMALL, ask, compared, run_ids

from evals.testing.openai_server import Loopback, failure
from programs.roles import saved_program

# -- what is used again --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_finished_run_is_reused_however_its_settings_were_given(cli: CommandLine) -> None:
    assert cli("run", *RULES, "--seed", "2", "--name", "mine", "--prompt-algo", "cot", "--concurrency", "1").code == 0
    said = compared(cli, "worker=io", "worker=cot", "--seeds", "2-2", *RULES, "--prompt-algo", "cot")
    assert said["arms"][1]["runs"]["2"] == 1
    assert cli("fork", "1", "--at", "2", "--name", "mine", "--db", "a.duckdb").code == 0
    assert run_ids(
        compared(cli, "worker=io", "worker=cot", "--seeds", "2-2", *RULES, "--prompt-algo", "cot")
    ) == run_ids(said)


@pytest.mark.slow
def test_runs_of_other_code_versions_are_reused_only_with_any_code(cli: CommandLine) -> None:
    args = ("worker=io", "worker=cot", "--seeds", "1", *RULES)
    compared(cli, *args)
    other = "import duckdb; duckdb.connect('a.duckdb').execute(\"UPDATE runs SET code_version = '1.9'\")"
    exec(other)
    assert (
        "2 come from other versions of the code" in cli("compare", *args, "--dry-run").out + cli("compare", *args).out
    )
    assert ask("select count(*) as n from runs") == [{"n": 4}]
    exec(other)
    assert sorted(run_ids(compared(cli, *args, "--any-code"))) == [1, 2]


@pytest.mark.slow
def test_a_program_is_identified_by_its_contents_not_its_path(cli: CommandLine) -> None:
    Path("elsewhere").mkdir()
    for path in ("tuned.json", "elsewhere/other.json"):
        saved_program.save(tuned("worker", "cot"), path, role="worker", strategy="cot")
    first = compared(cli, "worker=io", "worker=tuned.json", "--seeds", "1", *RULES)
    (run,) = ask("select config from runs where run_id = 2")
    assert json.loads(run["config"])["strategy"] == {"worker": "cot"}
    second = compared(cli, "worker=io", "worker=elsewhere/other.json", "--seeds", "1", *RULES)
    assert run_ids(second) == run_ids(first)
    record = json.loads(Path("tuned.json").read_text())
    Path("tuned.json").write_text(json.dumps(record).replace("honestly", "bravely"))
    third = compared(cli, "worker=io", "worker=tuned.json", "--seeds", "1", *RULES)
    assert run_ids(third) == [1, 3]


@pytest.mark.slow
def test_a_missing_model_ends_with_one_line_and_keeps_finished_runs(cli: CommandLine) -> None:
    args = ("worker=io", "worker=cot", "--seeds", "2", *SMALL, "--llm", "gpt-4o-mini", "--db", "a.duckdb")
    with Loopback(fault=lambda n, _: failure(401, "no such key") if n > 30 else None) as server:
        result = cli("compare", *args, "--base-url", server.url)
    assert result.code == 1
    assert result.err.strip().count("\n") == 0
    assert result.err.startswith("error: worker=io, seed 2: gpt-4o-mini: the key was refused")
    assert "2 of 4 runs are finished; repeat the command to resume" in result.err
    with Loopback(port=server.port) as server:
        result = cli("compare", *args, "--base-url", server.url)
    assert result.code == 0, result.err
    assert "4 runs: 2 cached, 1 resumed, 1 new" in result.out
    assert ask("select count(*) as n, min(status) as s from runs") == [{"n": 4, "s": "finished"}]


@pytest.mark.slow
def test_a_cap_stops_the_sweep_and_a_higher_cap_resumes_it(cli: CommandLine) -> None:
    args = ("worker=io", "worker=cot", "--seeds", "1", *RULES)
    result = cli("compare", *args, "--max-tokens", "3000")
    assert (result.code, result.err.strip().count("\n")) == (1, 0)
    assert "worker=io, seed 1:" in result.err
    assert "raise the cap; 0 of 2 runs are finished" in result.err
    assert "0 cached, 1 resumed, 1 new" in cli("compare", *args, "--max-tokens", "90000").out


# -- beforehand ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dry_run_estimates_the_missing_runs_and_writes_nothing(cli: CommandLine) -> None:
    bounded = (*SMALL, "--scenario", "bounded", "--llm", "rules", "--db", "a.duckdb")
    args = ("worker=io", "worker=cot", "--seeds", "3", *bounded)
    said = compared(cli, *args, "--dry-run")
    assert list(Path().iterdir()) == []
    assert [(arm["there"], arm["to_play"]) for arm in said["arms"]] == [(0, 3), (0, 3)]
    cli("compare", *args)
    (taken,) = ask("select count(*) as calls, sum(prompt_tokens + completion_tokens) as tokens from lm_calls")
    for name, value in taken.items():
        low, high = said["total"][name]
        assert low <= value <= high, name
    assert said["total"]["calls"] == [6 * 3 * (3 + 3) + 6 * 2 + 3 * 3, 6 * 3 * (3 + 3) + 6 * 2 + 6 * 3]
    assert compared(cli, *args, "--dry-run")["total"]["calls"] == [0, 0]
    before = Path("a.duckdb").read_bytes()
    more = cli("compare", "worker=io", "worker=cot", "planner=cot", "--seeds", "4", *bounded, "--dry-run")
    assert more.code == 0, more.err
    assert [
        line.split()[1:3] for line in more.out.splitlines() if line.startswith((" worker", " planner", " total"))
    ] == [
        ["3", "1"],
        ["3", "1"],
        ["0", "4"],
        ["6", "6"],
    ]
    assert Path("a.duckdb").read_bytes() == before


def test_a_dry_run_needs_no_key_and_knows_the_price(cli: CommandLine) -> None:
    args = ("worker=io", "setting:llm=gpt-4o", "--seeds", "5", *SMALL, "--llm", "gpt-4o-mini")
    cheap, dear = compared(cli, *args, "--dry-run")["arms"]
    assert 0 < cheap["cost_usd"][0] < dear["cost_usd"][0]
    assert cheap["calls"] == dear["calls"]


BAD = [
    (("worker=io",), "at least two arms"),
    (("worker=io", "worker=io"), "given twice"),
    (("worker=io", "planner=io"), "are the same"),
    (("worker=io", "boss=cot"), "unknown role 'boss'"),
    (("worker=io", "worker=nope"), "worker=nope: unknown strategy 'nope'"),
    (("worker=io", "worker=none.json"), "none.json does not exist"),
    (("worker=io", "worker"), "'worker' is not role=strategy"),
    (("worker=io", "setting:nope=1"), "unknown setting 'nope'"),
    (("worker=io", "setting:seed=4"), "seed cannot differ"),
    (("worker=io", "setting:db=b.duckdb"), "db cannot differ"),
    (("worker=io", "setting:num-agents=9"), "other people"),
    (("worker=io", "setting:percent_ego=0,setting:percent_alt=100"), "other people"),
    (("worker=io", "setting:adapter=runes"), "--adapter 'runes'"),
    (("worker=io", "worker=cot", "--seed", "3"), "takes --seeds"),
    (("worker=io", "worker=cot", "--seeds", "9-2"), "'9-2' is neither"),
    (("worker=io", "worker=cot", "--seeds", "0"), "contains no seed"),
    (("worker=io", "worker=cot", "--seeds", "1-99999999"), "more than 10,000"),
    (("worker=io", "worker=cot", "--primary", "joy"), "--primary joy: these arms are not compared by it"),
    (("worker=io", "worker=cot", "--primary", "tokens"), "--primary tokens: these arms are not compared by it"),
    (
        ("worker=io", "worker=cot", "--primary", "own_planner_share"),
        "--primary own_planner_share: these arms are not compared by it",
    ),
    (
        ("worker=io", "setting:welfare=paper", "--primary", "own_welfare"),
        "--primary own_welfare: these arms are not compared by it",
    ),
    (("worker=io", "setting:welfare=paper", "--detect", "own_welfare=3"), "no measure 'own_welfare'"),
    (("worker=io", "worker=cot", "--detect", "joy=3"), "no measure 'joy'"),
    (("worker=io", "worker=cot", "--detect", "0"), "not a nonzero number"),
    (("worker=io", "worker=cot", "--csv", "no/such/a.csv"), "--csv no/such/a.csv cannot be written"),
    (("worker=io", "worker=cot", "--db", "."), "is a folder"),
    (("worker=io", "worker=cot", "--llm", "gpt-4o-mini"), "needs a key"),
    (("worker=io", "worker=cot", "--strategy", "cot"), "is not role=value"),
    (("worker=io", "worker=cot", "--program", "planner=none.json"), "none.json does not exist"),
]


@pytest.mark.parametrize(("args", "words"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_impossible_comparisons_are_refused_in_one_line_and_write_nothing(
    cli: CommandLine, args: Any, words: str
) -> None:
    given = args if "--llm" in args else (*args, "--llm", "rules")
    result = cli("compare", *given, *SMALL)
    assert result.code == 2
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_one_population_has_the_same_wages_in_every_arm(cli: CommandLine) -> None:
    """Common random numbers: what differs between arms is not who takes part."""
    compared(cli, "worker=io", "worker=cot", "planner=cot", "--seeds", "2", *RULES, "--scenario", "bounded")
    wages = ask("select list(wage order by agent) as w from agents group by run_id order by run_id")
    assert [np.array(row["w"]).tolist() for row in wages[:3]] == [wages[0]["w"]] * 3
    assert wages[3]["w"] != wages[0]["w"]
    written = "select count(*) as n from lm_calls where signature = 'WritePersona' group by run_id"
    assert ask(written) == [{"n": 3}, {"n": 3}], "once for each of the two populations"
