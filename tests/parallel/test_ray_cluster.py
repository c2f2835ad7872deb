"""A Ray cluster answers a run's questions, or plays the runs of a sweep: the tables are those of one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine, last_of_each
from support.models import deadly
from support.runs.played_run import SMALL, play
from support.stores.stored_rows import rows

from pipeline.parallel import ray_cluster

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # read when Ray is imported: nodes listen on 127.0.0.1 alone

ARGS = (*SMALL, "--num-agents", "20", "--llm", "engine:deadly:Deadly", "--concurrency", "4")


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a Ray cluster of two nodes on this machine."""
    ray_cluster.imported()
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=2)
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.fixture(autouse=True)
def an_engine_in_this_folder() -> None:
    """As a user has it: the nodes of a cluster know nothing of where tests are."""
    shutil.copy(deadly.__file__, ".")


def test_without_the_extra_one_line_says_how_to_get_it(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    for command in (("run",), ("compare", "worker=io", "worker=cot"), ("personas",)):
        refused = cli(*command, "--llm", "rules", "--engine", "ray")
        assert refused.code == 2
        assert "uv run --extra ray" in refused.err
        assert refused.err.strip().count("\n") == 0
    assert not Path("economist.duckdb").exists()


def test_an_unreachable_cluster_is_reported_in_one_line_before_anything_starts(cli: CommandLine) -> None:
    nowhere = ("--llm", "rules", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    for command in (("run",), ("compare", "worker=io", "worker=cot"), ("personas",)):
        refused = cli(*command, *nowhere)
        assert refused.code == 2
        assert "--ray-address 127.0.0.1:1: no Ray cluster there" in refused.err
        assert refused.err.strip().count("\n") == 0
    assert not Path("economist.duckdb").exists()


@pytest.mark.slow
def test_any_number_of_shards_leaves_the_tables_of_one_process(cli: CommandLine, two_nodes: str) -> None:
    whole = play(cli, "a.duckdb", *ARGS)
    on_ray = ("--engine", "ray", "--ray-address", two_nodes)
    for shards in ("1", "4"):
        assert play(cli, f"{shards}.duckdb", *ARGS, *on_ray, "--shards", shards) == whole
    flags = last_of_each((*ARGS, *on_ray, "--shards", "2", "--db", "2.duckdb"))
    command = [sys.executable, "-m", "evals", "run", *flags]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert "ray" not in told.stdout
    assert rows("2.duckdb") == whole


@pytest.mark.slow
def test_a_killed_actor_is_restarted_and_asks_only_the_remaining_questions(cli: CommandLine, two_nodes: str) -> None:
    whole, asked = play(cli, "a.duckdb", *ARGS), sorted(deadly.asked())
    deadly.ASKED.unlink()
    deadly.to_die(1, after=14)  # in the second year
    args = (*ARGS, "--concurrency", "2", "--engine", "ray", "--ray-address", two_nodes, "--shards", "2")
    assert play(cli, "b.duckdb", *args) == whole
    assert deadly.lives() == 0
    assert sorted(deadly.asked()) == asked


@pytest.mark.slow
def test_an_actor_that_keeps_dying_stops_the_run_which_can_be_resumed(cli: CommandLine, two_nodes: str) -> None:
    whole = play(cli, "a.duckdb", *ARGS)
    deadly.to_die(5, after=0)
    args = (*ARGS, "--engine", "ray", "--ray-address", two_nodes, "--shards", "1")
    ended = cli("run", *args, "--db", "b.duckdb")
    assert "raylet" not in ended.out
    assert ended.code == 1
    assert "shard 0 was lost 5 times in a year" in ended.err
    assert ended.err.strip().count("\n") == 0
    deadly.to_die(0, after=0)
    assert cli("resume", "1", "--db", "b.duckdb", "--engine", "local", "--allow-code", "deadly:Deadly").code == 0
    assert rows("b.duckdb") == whole


@pytest.mark.slow
def test_a_sweep_on_ray_has_the_runs_of_one_process_even_when_a_task_is_lost(cli: CommandLine, two_nodes: str) -> None:
    args = ("compare", "worker=io", "worker=cot", "--seeds", "1", *SMALL, "--llm", "engine:deadly:Deadly")
    assert cli(*args, "--db", "a.duckdb", "--csv", "a.csv").code == 0
    deadly.to_die(1, after=12)
    on_ray = ("--engine", "ray", "--ray-address", two_nodes)
    swept = cli(*args, *on_ray, "--db", "b.duckdb", "--csv", "b.csv")
    assert (swept.code, swept.err) == (0, "")
    assert "raylet" not in swept.out
    assert deadly.lives() == 0
    assert Path("a.csv").read_text() == Path("b.csv").read_text()
    assert {tuple(run.values()) for run in cli.sql("select status from runs", "b.duckdb")} == {("finished",)}
    assert not list(Path().glob("*.shard-*"))


def test_shards_apply_to_single_runs_only(cli: CommandLine) -> None:
    refused: Any = cli("compare", "worker=io", "worker=cot", "--llm", "rules", "--engine", "ray", "--shards", "2")
    assert refused.code == 2
    assert "--shards applies to single runs" in refused.err
