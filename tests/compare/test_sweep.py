"""Interrupted sweeps keep finished runs and resume the others, in one process or in several."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from evals.compare.contrasts import Result, estimates, flagged
from evals.compare.run_measures import MEASURES
from evals.compare.statistics import holm
from evals.compare.tables import shown
from evals.run.progress import News
from evals.sweep.cells import Cell, cells, key_of, merged, plan
from evals.sweep.jobs import Group, Job
from evals.sweep.processes import play_in_processes
from evals.sweep.sweep import Sweep
from pipeline.config import RunConfig
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.simulation.personas import written_by
from pipeline.store import shards, snapshots
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store
from programs.roles import saved_program
from programs.roles.persona import PersonaWriter
from programs.strategies.registry import strategy

DB = "a.duckdb"
ARMS = ("worker=io", "worker=cot", "--seeds", "2")
LONG = (*ARMS, "--num-agents", "2", "--max-timesteps", "20", "--two-timescale", "5", "--llm", "rules")


def runs(db: str = DB) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute("SELECT run_id, status, created_at FROM runs ORDER BY run_id").fetchall()


def started(*args: str) -> subprocess.Popen[str]:
    """A real `llm-economist compare`."""
    command = [sys.executable, "-m", "evals", "compare", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def year_of(db: str, run_id: int) -> int:
    """Years that a run, which is being written, has behind it; 0 while it is not."""
    try:
        state = snapshots.status(db) if os.path.exists(snapshots.socket_path(db)) else {}
    except StoreError:
        return 0
    return int(state.get("year", 0)) if state.get("run_id") == run_id else 0


def in_one_go(cli: CommandLine, *args: str) -> str:
    """The comparison of a sweep that nothing cut off, as CSV."""
    assert cli("compare", *args, "--db", "whole.duckdb", "--csv", "whole.csv").code == 0
    return Path("whole.csv").read_text()


# -- cut off -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_interrupted_sweep_resumes_in_the_year_it_had_reached(cli: CommandLine) -> None:
    with started(*LONG, "--db", DB) as process:
        until(lambda: year_of(DB, 2) > 3)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted: 1 of 4 runs are finished; repeat the command to resume" in said
    before = runs()
    assert [status for _, status, _ in before] == ["finished", "interrupted"]
    result = cli("compare", *LONG, "--db", DB, "--csv", "a.csv")
    assert "4 runs: 1 cached, 1 resumed, 2 new." in result.out
    after = runs()
    assert after[:2] == [(run_id, "finished", made) for run_id, _, made in before]
    assert len(after) == 4
    assert Path("a.csv").read_text() == in_one_go(cli, *LONG)


@pytest.mark.slow
def test_a_parallel_sweep_killed_and_resumed_gives_the_rows_of_a_serial_one(cli: CommandLine) -> None:
    """The processes of a sweep that was killed end by themselves; the personas of a seed are written once."""
    bounded = (*LONG, "--scenario", "bounded")
    with started(*bounded, "--db", DB, "--parallel", "2") as process:
        until(lambda: any(year_of(shard, 2) > 1 for shard in shards.shards_of(DB)))
        process.kill()
    until(lambda: all(map(shards.at_rest, shards.shards_of(DB))))
    left = [row["status"] for shard in shards.shards_of(DB) for row in shards.runs_of(shard) or ()]
    assert left.count("finished") >= 1
    said = cli("compare", *bounded, "--db", DB, "--dry-run").out
    assert [line.split()[1:3] for line in said.splitlines() if "total" in line] == [
        [str(left.count("finished")), str(4 - left.count("finished"))]
    ]
    result = cli("compare", *bounded, "--db", DB, "--parallel", "2", "--csv", "a.csv")
    assert result.code == 0, result.err
    going_on = len(left) - left.count("finished")
    assert f"4 runs: {left.count('finished')} cached, {going_on} resumed, {4 - len(left)} new." in result.out
    assert not list(Path().glob("*.shard-*"))
    assert [status for _, status, _ in runs()] == ["finished"] * 4
    assert Path("a.csv").read_text() == in_one_go(cli, *bounded)
    with duckdb.connect(DB, read_only=True) as connection:
        query = (
            "SELECT seed, count(*) FROM lm_calls JOIN runs USING (run_id) WHERE role = 'persona' GROUP BY 1 ORDER BY 1"
        )
        assert connection.execute(query).fetchall() == [(1, 2), (2, 2)]


@pytest.mark.slow
def test_an_error_in_one_process_stops_the_sweep_with_its_message(cli: CommandLine) -> None:
    settings = {"llm": "rules", "num_agents": 2, "max_timesteps": 100_000, "db": DB}
    wanted = cells(settings, {"endless": {}, "capped": {"max_tokens": 30_000, "adapter": "json"}}, seeds=[1])
    heard: list[News] = []
    groups = [Group((Job(cell),), in_main=False) for cell in wanted]
    with pytest.raises(EconomistError, match=r"^capped, seed 1: .*raise the cap$"):
        play_in_processes(groups, DB, 2, heard.append)
    assert {news.key for news in heard} <= {cell.key for cell in wanted}
    statuses = {row["name"]: row["status"] for shard in shards.shards_of(DB) for row in shards.runs_of(shard) or ()}
    assert statuses["capped seed 1"] == "stopped"
    assert statuses.get("endless seed 1", "interrupted") == "interrupted", "it may not have begun"


def test_a_sweep_refuses_a_database_that_another_process_writes(cli: CommandLine) -> None:
    Store(DB).close()
    hold = f"import duckdb; c = duckdb.connect({DB!r}); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        result = cli("compare", *LONG, "--db", DB)
        holder.communicate("\n")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert f"in use by another process (PID {holder.pid})" in result.err


# -- which runs are the same ---------------------------------------------------------------------------------------


def cell(**settings: Any) -> Cell:
    (made,) = cells({"llm": "rules", **settings}, {"arm": {}}, seeds=[settings.get("seed", 1)])
    return made


SAME: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = (
    ({}, {"name": "x", "log_dir": "y", "db": "z.duckdb", "timeout": 3, "concurrency": 1, "debug": True}),
    ({}, {"max_cost_usd": 3, "max_tokens": 10**6, "use_multithreading": True, "wandb": True}),
    ({}, {"processes": 3}),
    ({"processes": 2}, {"engine": "ray", "shards": 4, "ray_address": "auto"}),
    ({"prompt_algo": "cot"}, {"strategy": "worker=cot,planner=cot,voter=cot,persona=cot"}),
    ({"strategy": {"worker": "io"}}, {}),
    ({"percent_ego": 100.0, "uniform_rate": "50"}, {}),
    ({"base_url": "http://a:b@127.0.0.1:9/v1"}, {"base_url": "http://127.0.0.1:9/v1"}),
)

OTHER: tuple[Mapping[str, Any], ...] = (
    {"prompt_algo": "cot"},
    {"strategy": {"worker": "cot"}},
    {"adapter": "json"},
    {"temperature": 0.6},
    {"planner_type": "SAEZ"},
    {"history_len": 49},
    {"max_output_tokens": 499},
    {"seed": 2},
    {"welfare": "rawlsian"},
    {"base_url": "http://127.0.0.1:9/v1"},
)


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_settings_that_ask_the_same_questions_share_a_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert cell(**one).key == cell(**other).key


@pytest.mark.parametrize("other", OTHER, ids=str)
def test_settings_that_ask_other_questions_are_a_separate_run(other: Mapping[str, Any]) -> None:
    assert cell(**other).key != cell().key
    assert key_of({}, "gpt-4o", {}) != key_of({}, "rules", {})
    assert key_of({}, "rules", {"worker": "ab"}) != key_of({}, "rules", {})


def test_an_arm_replaces_the_strategies_and_programs_of_its_roles() -> None:
    common = {"program": "worker=a.json,planner=b.json", "strategy": "planner=cot", "seed": 3}
    assert merged(common, {"strategy": {"worker": "cot"}}) == {
        "program": {"planner": "b.json"},
        "strategy": {"planner": "cot", "worker": "cot"},
        "seed": 3,
    }
    with pytest.raises(UsageError, match="is not role=value"):
        merged({"strategy": "cot"}, {"strategy": {"worker": "cot"}})


def test_personas_of_another_program_are_other_personas() -> None:
    """Runs share stored personas by model, writer and seed: a tuned writer must not find those of the plain one."""
    written = {written_by(cell().config), written_by(cell(strategy="persona=cot").config)}
    for text in ("one", "two"):
        saved_program.save(PersonaWriter(strategy("io"), 3), "writer.json", role="persona", strategy="io")
        record = json.loads(Path("writer.json").read_text())
        record["predictors"]["write_persona"]["instruction"] = text
        Path(f"{text}.json").write_text(json.dumps(record))
        written.add(written_by(cell(program=f"persona={text}.json").config))
    assert len(written) == 4


def test_cells_are_ordered_by_seed_so_that_an_interruption_leaves_complete_pairs() -> None:
    made = cells({"llm": "rules"}, {"io": {}, "cot": {"prompt_algo": "cot"}}, seeds=[2, 5], name="study")
    assert [(one.arm, one.config.seed) for one in made] == [("io", 2), ("cot", 2), ("io", 5), ("cot", 5)]
    assert [one.config.name for one in made[:2]] == ["study io seed 2", "study cot seed 2"]


def test_a_run_that_only_looks_finished_is_played(cli: CommandLine) -> None:
    """Such as the row that `personas` leaves: settings, status, and not a single year."""
    wanted = cell(scenario="bounded", num_agents=2, max_timesteps=2, db=DB)
    args = ("--llm", "rules", "--num-agents", "2", "--seed", "1", "--db", DB)
    assert cli("personas", *args, "--max-timesteps", "2").code == 0
    with ReadOnlyStore(DB) as reader:
        assert plan(reader, [wanted]).missing([wanted]) == [wanted]
    assert cli("run", *args, "--max-timesteps", "2", "--scenario", "bounded").code == 0
    assert Sweep([wanted], DB).plan().done == {wanted.key: 2}


# -- from figures to findings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "measure", "words"),
    [
        (12.3456, "welfare", "+12.35"),
        (-0.00042, "welfare", "-0.00042"),
        (-1.2e-15, "hours", "+0.00"),
        (1234567.8, "regret", "+1,234,568"),
        (0.0456, "planner_share", "+4.6 pp"),
        (None, "planner_share", "-"),
        (math.nan, "welfare", "-"),
    ],
)
def test_values_are_shown_in_four_digits(value: float | None, measure: str, words: str) -> None:
    assert shown(value, MEASURES[measure], scale=34.0, sign=True) == words


def result(arm: str, seed: int, **figures: float | None) -> Result:
    return Result(arm, seed, seed, {**dict.fromkeys(MEASURES), **figures})


def test_pairs_are_seeds_that_both_arms_have() -> None:
    results = [result("a", seed, welfare=float(seed), hours=40.0) for seed in (1, 2, 3)]
    results += [result("b", 2, welfare=5.0), result("b", 3, welfare=7.0), result("b", 9, welfare=1e9)]
    found = {(one.arm, one.measure): one for one in estimates(results, "a", detect={"welfare": 0.5})}
    contrast = found["b", "welfare"].contrast
    assert contrast is not None
    assert (contrast.pairs, contrast.difference.mean) == (2, 3.5)
    assert contrast.p == pytest.approx(2 / math.pi * math.atan(1 / 7)), "Student's t of 7 with one degree of freedom"
    assert contrast.p_holm == contrast.p, "nothing else was there to test"
    assert contrast.detectable is not None
    assert contrast.needed is not None
    assert found["a", "welfare"].contrast is None
    assert found["a", "hours"].mean == (40, 40, 40)
    hours = found["b", "hours"].contrast
    assert hours is not None
    assert (hours.pairs, hours.p, hours.p_holm) == (0, None, None)


def test_the_family_is_the_primary_outcome_of_all_arms() -> None:
    outcomes = {name: 1.0 for name, measure in MEASURES.items() if measure.outcome}
    results = [result("a", seed, **outcomes, tokens=1.0) for seed in range(8)]
    for arm, shift in (("b", 0.5), ("c", 1.0)):
        results += [result(arm, seed, **dict.fromkeys(outcomes, shift + seed), tokens=9.0) for seed in range(8)]
    made = estimates(results, "a", primary="regret")
    tested = {(one.arm, one.measure): one.contrast for one in made if one.contrast is not None and one.contrast.p}
    assert len(tested) == 2 * len(outcomes)
    corrected = {key: one.p_holm for key, one in tested.items() if one.p_holm is not None}
    plain = [tested[arm, "regret"].p or 0 for arm in ("b", "c")]
    assert corrected == dict(zip([("b", "regret"), ("c", "regret")], holm(plain), strict=True))
    assert plain[0] > plain[1] == corrected["c", "regret"] / 2


def test_runs_above_the_share_are_flagged_by_arm() -> None:
    results = [result("a", 1, fallback_rate=0.05), result("a", 2, fallback_rate=0.06), result("b", 1, fallback_rate=0)]
    assert flagged(results, 0.05) == {"a": [2]}


def test_every_setting_counts_unless_it_is_said_not_to() -> None:
    """A setting that is new one day must not make two runs look the same."""
    stored = {**RunConfig().public(), "a_new_setting": 1}
    assert key_of(stored, "rules", {}) != key_of({**stored, "a_new_setting": 2}, "rules", {})
