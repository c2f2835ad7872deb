"""Several processes answer a run's questions; the tables equal those of one process, even if one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.models import deadly
from support.runs.live_runs import until
from support.runs.paid_twice import paid_twice
from support.runs.played_run import SMALL, play
from support.stores.stored_rows import rows

from evals.testing.openai_server import Loopback
from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Question
from pipeline.config import RunConfig, build
from pipeline.parallel.pool import WorkerPool, partition_of, setups
from pipeline.parallel.worker import AgentWorker, Report, share
from pipeline.simulation.loop import labor_inputs
from pipeline.simulation.world import create
from pipeline.store.call_files import CallFileWriter
from pipeline.store.call_rows import Call
from pipeline.store.incoming_calls import calls_folder, ingest_calls
from pipeline.store.writer import Store

RULES = (*SMALL, "--llm", "rules")


class Here:
    """A channel to workers in this process, which records the messages it was sent."""

    def __init__(self, pool: WorkerPool, count: int) -> None:
        self.workers = [AgentWorker(setup) for setup in setups(pool.llm_agents, pool.store, count)]
        self.sent: list[tuple[int, Sequence[Question]]] = []

    @property
    def count(self) -> int:
        return len(self.workers)

    async def ask(self, number: int, batch: Sequence[Question]) -> Report:
        self.sent.append((number, batch))
        return await self.workers[number].answer(batch)

    def close(self) -> None:
        return None


# -- who answers ---------------------------------------------------------------------------------------------------


@given(agents=st.integers(1, 200), workers=st.integers(1, 50))
def test_partitions_are_contiguous_and_of_equal_size(agents: int, workers: int) -> None:
    workers = min(workers, agents)
    of = [partition_of(agent, agents, workers) for agent in range(agents)]
    assert of == sorted(of)
    sizes = [of.count(number) for number in range(workers)]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@given(limit=st.integers(1, 1000), workers=st.integers(1, 50))
def test_the_shares_of_a_limit_add_up_to_it(limit: int, workers: int) -> None:
    workers = min(limit, workers)
    shares = [share(RunConfig(concurrency=limit, rpm=limit), number, workers) for number in range(workers)]
    assert sum(one.concurrency for one in shares) == sum(one.rpm or 0 for one in shares) == limit
    assert {one.tpm for one in shares} == {None}


def test_questions_of_one_round_are_one_message_per_worker_process() -> None:
    config = RunConfig(num_agents=10, llm="rules", processes=3)
    with Store("a.duckdb") as store:
        llm_agents, world, sent = LLMAgents(config, "rules"), create(config), []
        llm_agents.enter(1)
        pool = WorkerPool(llm_agents, store, lambda pool: sent.append(Here(pool, 3)) or sent[0])

        async def two_years() -> list[list[Any]]:
            def asks(year: int) -> list[Any]:
                inputs = (labor_inputs(world, agent, year) for agent in range(10))
                return [pool.ask(Question("ChooseLabor", shown, year, i)) for i, shown in enumerate(inputs)]

            return [await asyncio.gather(*asks(year)) for year in range(2)]

        divided = asyncio.run(two_years())
        (here,) = sent
        assert [(number, [ask.agent for ask in batch]) for number, batch in here.sent] == [
            (number, agents) for _ in range(2) for number, agents in enumerate(([0, 1, 2, 3], [4, 5, 6], [7, 8, 9]))
        ]
        pool.close()
        assert llm_agents.usage.calls == store.one("SELECT count(*) FROM lm_calls") == 20
        assert llm_agents.hearing.heard
        whole = LLMAgents(replace(config, processes=1), "rules", run_id=1)
        for year, answers in enumerate(divided):
            for agent, answer in enumerate(answers):
                one = asyncio.run(whole.ask(Question("ChooseLabor", labor_inputs(world, agent, year), year, agent)))
                assert one.prediction is not None
                assert (answer.call_id, answer.prediction.labor) == (one.call_id, one.prediction.labor)


# -- calls on their way ----------------------------------------------------------------------------------------------


def calls_of(count: int) -> list[Call]:
    """Calls as a run makes them, and one that failed."""
    config = RunConfig(num_agents=count, llm="rules")
    llm_agents, world = LLMAgents(config, "rules", run_id=1), create(config)

    async def ask() -> None:
        shown = [labor_inputs(world, agent, 0) for agent in range(count)]
        await asyncio.gather(*(llm_agents.ask(Question("ChooseLabor", s, 0, i)) for i, s in enumerate(shown)))

    asyncio.run(ask())
    calls = llm_agents.drain()
    calls[-1] = replace(calls[-1], response=None, parsed=None, status="timeout", error="späť\n", cost_usd=None)
    return calls


def test_calls_read_from_a_call_file_equal_those_written() -> None:
    calls, writer = calls_of(5), CallFileWriter(Path("a.duckdb.calls/1/0"))
    for call in reversed(calls):
        writer.post(call)
    writer.flush()
    assert writer.leftover_calls() == calls
    assert not list(writer.folder.glob("*.tmp"))


def test_a_call_reaches_its_file_soon_without_a_flush() -> None:
    writer = CallFileWriter(Path("calls"))
    (call,) = calls_of(1)
    writer.post(call)
    until(lambda: writer.leftover_calls() == [call], 10)


@pytest.mark.parametrize("db", ["a.duckdb", "odd [1]*?.duckdb"])
def test_calls_are_ingested_once_whatever_a_kill_left_behind(db: str) -> None:
    calls = calls_of(6)
    folder = calls_folder(db) / "1"
    written(folder / "0", calls[:4])
    with Store(db) as store:  # whoever opens the file takes in what is left
        stored = "SELECT * FROM lm_calls ORDER BY call_id"
        assert [row["call_id"] for row in store.rows(stored)] == [call.call_id for call in calls[:4]]
        assert not calls_folder(db).exists()
        written(folder / "0", calls[2:5])  # two of them again: their files outlived the commit
        written(folder / "1", calls[4:])  # and one from a worker that was thought lost and kept writing
        totals = ingest_calls(store, 1)
        assert (totals["calls"], totals["failed"]) == (2, 1)
        assert [Call(**{name: row[name] for name in vars(calls[0])}) for row in store.rows(stored)] == calls
        assert ingest_calls(store, 1) == {}


def written(folder: Path, calls: Sequence[Call]) -> None:
    writer = CallFileWriter(folder)
    for call in calls:
        writer.post(call)
    writer.flush()


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"processes": 0}, "--processes 0"),
        ({"shards": 2}, "--shards 2 needs --engine ray"),
        ({"ray_address": "auto"}, "--ray-address auto needs --engine ray"),
        ({"engine": "ray", "processes": 2}, "--processes 2 does not fit --engine ray"),
        ({"engine": "spark"}, "--engine 'spark'"),
        ({"processes": 2, "max_tokens": 5}, "--max-tokens 5 does not fit --processes 2: a cap needs a single process"),
        ({"engine": "ray", "max_cost_usd": 1}, "--max-cost-usd 1.0 does not fit --engine ray"),
        ({"processes": 4, "rpm": 3}, "--rpm 3 is divided among 4"),
        ({"processes": 65}, "--concurrency 64 is divided among 65"),
    ],
)
def test_settings_that_cannot_be_divided_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="^" + words.replace("$", r"\$")) as refused:
        build(settings)
    assert "\n" not in str(refused.value)


# -- whole runs --------------------------------------------------------------------------------------------------------


def test_two_processes_leave_the_same_tables_as_one(cli: CommandLine) -> None:
    whole = play(cli, "a.duckdb", *RULES)
    assert play(cli, "b.duckdb", *RULES, "--processes", "2") == whole
    assert active_children() == []
    summaries = [cli("runs", "--db", db, "--json").out for db in ("a.duckdb", "b.duckdb")]
    assert all('"finished"' in summary for summary in summaries)


@pytest.mark.slow
def test_identical_questions_share_requests_in_each_process_with_the_same_results(cli: CommandLine) -> None:
    crowd = ("--num-agents", "40", "--archetypes", "4", "--archetype-samples", "6")
    args = (*SMALL, *crowd, "--llm", "gpt-4o-mini")
    with Loopback() as server:
        whole = play(cli, "a.duckdb", *args, "--base-url", server.url)
        once = len(server.requests)
        divided = play(cli, "b.duckdb", *args, "--base-url", server.url, "--processes", "2")
        asked = len(server.requests) - once
    for table in ("decisions", "years"):
        assert divided[table] == whole[table]
    (row,) = cli.sql("select count(*) n from lm_calls where signature = 'ChooseLabor'", "b.duckdb")
    assert asked < row["n"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["bounded", "democratic --platforms --election-rule borda --prompt-algo sc"])
def test_three_processes_leave_the_same_tables_as_one(cli: CommandLine, scenario: str) -> None:
    args = ("--scenario", *scenario.split(), *RULES)
    assert play(cli, "b.duckdb", *args, "--processes", "3") == play(cli, "a.duckdb", *args)


@pytest.mark.slow
def test_a_killed_process_is_restarted_and_asks_only_the_remaining_questions(cli: CommandLine) -> None:
    args = (*SMALL, "--num-agents", "20", "--llm", "engine:support.models.deadly:Deadly", "--concurrency", "2")
    whole = play(cli, "a.duckdb", *args)
    asked = sorted(deadly.asked())
    deadly.ASKED.unlink()
    deadly.to_die(1, after=14)  # in the second year
    assert play(cli, "b.duckdb", *args, "--processes", "2") == whole
    assert deadly.lives() == 0
    assert sorted(deadly.asked()) == asked


@pytest.mark.slow
def test_a_process_that_keeps_dying_stops_the_run_which_can_be_resumed(cli: CommandLine) -> None:
    args = (*SMALL, "--llm", "engine:support.models.deadly:Deadly")
    whole = play(cli, "a.duckdb", *args)
    deadly.to_die(5, after=0)
    ended = cli("run", *args, "--processes", "2", "--db", "b.duckdb")
    assert ended.code == 1
    assert "process 0 of --processes was lost 5 times" in ended.err
    assert "resume 1 --db b.duckdb" in ended.err
    assert ended.err.strip().count("\n") == 0
    assert active_children() == []
    again = shlex.split(ended.err.partition("llm-economist ")[2].partition("\n")[0].rstrip(")`'. "))
    assert again[-2:] == ["--allow-code", "support.models.deadly:Deadly"]
    assert cli(*again, "--processes", "1").code == 0
    assert rows("b.duckdb") == whole


# -- with a server -------------------------------------------------------------------------------------------------


UNDER_WAY = 8
SERVED = (*SMALL[2:], "--num-agents", "30", "--llm", "gpt-4o-mini", "--concurrency", str(UNDER_WAY))


def children_of(pid: int) -> list[int]:
    """The worker processes that `pid` has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_a_process_killed_at_any_moment_loses_only_pending_calls(cli: CommandLine) -> None:
    with Loopback(latency=0.02) as server:
        args = (*SERVED, "--base-url", server.url)
        whole = play(cli, "a.duckdb", *args)
        asked, kills = [], []

        def kill(number: int, body: dict[str, Any]) -> None:
            asked.append((time.monotonic(), json.dumps(body, sort_keys=True)))
            if len(asked) in (25, 70):
                kills.append(time.monotonic())
                os.kill(active_children()[0].pid or 0, signal.SIGKILL)

        server.fault = kill
        assert play(cli, "b.duckdb", *args, "--processes", "2") == whole
    assert len(kills) == 2
    assert paid_twice(asked, [(kill, kill) for kill in kills]) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interrupted_run_leaves_no_process_and_can_be_resumed(cli: CommandLine, how: signal.Signals) -> None:
    with Loopback(latency=0.02) as server:
        args = (*SERVED, "--base-url", server.url)
        whole = play(cli, "a.duckdb", *args)
        asked: list[str] = []
        workers: list[int] = []

        def cut_off(number: int, body: dict[str, Any]) -> None:
            if "Reply with the word OK" not in str(body):
                asked.append(json.dumps(body, sort_keys=True))
            if len(asked) == 60 and not workers:
                workers.extend(children_of(process.pid))
                process.send_signal(how)

        server.fault = cut_off
        command = [sys.executable, "-m", "evals", "run", *args, "--processes", "2", "--db", "b.duckdb"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how], said
        assert said == ""
        assert len(workers) == 2
        until(lambda: gone(workers), 10)
        assert cli("resume", "1", "--db", "b.duckdb", "--processes", "1").code == 0
    assert rows("b.duckdb") == whole
    assert len(asked) - len(set(asked)) <= UNDER_WAY  # of the 29 of that year
