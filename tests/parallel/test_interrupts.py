"""Ctrl-C and SIGTERM at the worst moments: a run that had begun is `interrupted`, and goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pytest
from pydantic_core import SchemaError
from rich.console import Console
from support.command_line import CommandLine

from evals.cli import main as command_line_program
from evals.optimize.tuning import Tuning
from evals.run.command import play
from evals.testing.openai_server import Fault, Loopback
from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.errors import StoreError
from pipeline.parallel.interrupts import INTERRUPTED, TERMINATED, run_async
from pipeline.simulation.lifecycle import take_up
from pipeline.simulation.loop import Simulation
from pipeline.store import schema as database
from pipeline.store.exchange import import_runs
from pipeline.store.run_lookup import config_of
from pipeline.store.writer import Store

DB = "a.duckdb"
SETTINGS = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 2, "llm": "rules", "db": DB}
ASKED = ("--num-agents", "2", "--max-timesteps", "1", "--scenario", "bounded", "--llm", "gpt-4o-mini", "--db", DB)
ENDLESS = "SET threads = 1; SELECT count(*) FROM range(100000000000)"
"""In one thread: DuckDB hears signals in the thread that asks, between two of its tasks."""
CTRL_C, POLITE = signal.SIGINT, signal.SIGTERM


class Hooked(Store):
    """A store where something happens before a run is begun, or its end is told."""

    def __init__(self, *, begin: Callable[[], object] = int, finish: Callable[[], object] = int) -> None:
        super().__init__(DB)
        self.begin, self.finish = begin, finish

    def start_run(self, row: Any) -> int:
        self.begin()
        return super().start_run(row)

    def finish_run(self, run_id: int, status: str, error: str | None = None) -> None:
        self.finish()
        super().finish_run(run_id, status, error)


def ctrl_c() -> None:
    signal.raise_signal(CTRL_C)


@contextmanager
def signals(*numbers: int, after: float) -> Iterator[None]:
    """Signals for this process, one after another, the first `after` seconds from now."""

    def send() -> None:
        for number in numbers:
            time.sleep(after)
            os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()


def signalling(number: int, *, at: int) -> Fault:
    """A server that sends this process a signal when it gets request `at`, and answers."""

    def fault(request: int, body: dict[str, Any]) -> None:
        if request == at:
            os.kill(os.getpid(), number)

    return fault


def interrupted_once(year: int) -> dict[Any, Any]:
    ctrl_c()
    return {}


def simulation(store: Store) -> Simulation:
    config = build(SETTINGS)
    return Simulation(config, store, LLMAgents(config, "rules"))


def statuses(cli: CommandLine) -> list[str]:
    return [row["status"] for row in cli.sql("SELECT status FROM runs ORDER BY run_id", DB)]


@pytest.mark.parametrize("ask", [Store.rows, Store.columns, Store.one])
def test_ctrl_c_in_a_query_of_the_store_is_an_interrupt(ask: Callable[[Store, str], object]) -> None:
    with Store(DB) as store:
        with pytest.raises(KeyboardInterrupt), signals(CTRL_C, after=0.05):
            ask(store, ENDLESS)
        assert store.one("SELECT 1") == 1


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(CTRL_C, CTRL_C), (POLITE, POLITE)])
def test_a_run_that_is_interrupted_in_a_query_can_be_resumed(cli: CommandLine, numbers: Sequence[int]) -> None:
    """The first signal only asks for an end, between two steps; the second is felt in the query."""
    with Store(DB) as store:
        run = simulation(store)

        def queried(year: int) -> Any:
            with signals(*numbers, after=0.05):
                return store.one(ENDLESS)

        run.recorded = queried
        assert play(run, Console()) == INTERRUPTED
    assert statuses(cli) == ["interrupted"]
    assert cli("resume", "1", "--db", DB).code == 0
    assert statuses(cli) == ["finished"]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("number", [CTRL_C, POLITE])
@pytest.mark.parametrize("background", [False, True])
def test_a_run_that_is_interrupted_while_personas_are_written_can_be_resumed(
    cli: CommandLine, number: int, background: bool
) -> None:
    """A shell's background job ignores Ctrl-C; SIGTERM ends it all the same."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if background else None
    try:
        with Loopback(fault=signalling(number, at=1), latency=0.05) as server:
            url = ("--base-url", server.url)
            ended = cli("run", *ASKED, *url)
            if background and number == CTRL_C:
                assert (ended.code, statuses(cli)) == (0, ["finished"])
                return
            code = INTERRUPTED if number == CTRL_C else TERMINATED
            assert (ended.code, statuses(cli)) == (code, ["interrupted"]), ended.err
            assert cli("resume", "1", "--db", DB, *url).code == 0
            assert statuses(cli) == ["finished"]
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)


def test_nothing_is_stored_of_a_run_that_is_interrupted_in_its_first_call(cli: CommandLine) -> None:
    with Loopback(fault=signalling(CTRL_C, at=0), latency=0.05) as server:
        ended = cli("run", *ASKED, "--base-url", server.url)
    assert ended.code == INTERRUPTED
    assert "resume" not in ended.out
    assert not cli.exists(DB)


@pytest.mark.slow
@pytest.mark.parametrize("number", [CTRL_C, POLITE, signal.SIGHUP])
def test_personas_that_were_interrupted_continue_with_the_replies_that_are_stored(
    cli: CommandLine, number: signal.Signals
) -> None:
    asked = ("personas", "--num-agents", "5", "--concurrency", "1", "--llm", "gpt-4o-mini", "--db", DB)
    with Loopback(fault=signalling(number, at=3), latency=0.05) as server:
        command = (*asked, "--base-url", server.url)
        assert cli(*command).code == 128 + number
        assert statuses(cli) == ["interrupted"]
        assert cli(*command).code == 0
        assert statuses(cli) == ["finished"]
        written = [body for body in server.requests if "Reply with the word OK" not in str(body)]
    assert len(written) == 6  # the one that was in flight is asked again
    assert len(set(map(str, written))) == 5


def test_ctrl_c_while_a_database_is_made_is_an_interrupt(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: object) -> None:
        with duckdb.connect() as connection, signals(CTRL_C, after=0.05):
            connection.execute(ENDLESS)

    monkeypatch.setattr(database, "_write_empty", interrupted)
    asked = cli("run", "--num-agents", "2", "--max-timesteps", "1", "--llm", "rules", "--db", DB)
    assert (asked.code, asked.err) == (INTERRUPTED, "")
    assert not cli.exists(DB)


@pytest.mark.parametrize("number", [CTRL_C, POLITE])
def test_ctrl_c_that_a_library_turns_into_its_own_error_is_an_interrupt(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Pydantic says so where Ctrl-C comes while it builds the schema of a model."""

    def build_a_model(args: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        raise SchemaError('Error building "literal" validator: KeyboardInterrupt:')

    monkeypatch.setattr(command_line_program, "_commands", lambda: build_a_model)
    ended = cli("runs")
    assert (ended.code, ended.err) == (128 + number, "")
    assert not cli.exists(command_line_program.CRASH_FILE)


def test_an_import_that_is_interrupted_leaves_no_database(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store("other.duckdb") as store:
        assert play(simulation(store), Console()) == 0
    monkeypatch.setattr(import_runs, "import_into", lambda *args, **flags: ctrl_c())
    assert cli("import", "other.duckdb", "--db", DB).code == INTERRUPTED
    assert not cli.exists(DB)


def test_a_run_that_has_no_number_yet_is_not_said_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with Hooked(begin=lambda: [ctrl_c(), ctrl_c()]) as store, pytest.raises(KeyboardInterrupt):
        play(simulation(store), Console())
    assert "resume" not in capsys.readouterr().out


def test_repeated_interrupts_do_not_leave_a_run_with_the_status_running(cli: CommandLine) -> None:
    with Hooked(finish=ctrl_c) as store:
        run = simulation(store)
        run.recorded = interrupted_once
        assert play(run, Console()) == INTERRUPTED
    assert signal.getsignal(CTRL_C) is signal.default_int_handler
    assert statuses(cli) == ["interrupted"]


@pytest.mark.slow
def test_a_run_that_is_interrupted_when_its_end_is_written_is_not_left_as_running(cli: CommandLine) -> None:
    with Hooked(finish=ctrl_c) as store:
        assert play(simulation(store), Console()) == INTERRUPTED
    assert statuses(cli) == ["interrupted"]
    assert cli("resume", "1", "--db", DB).code == 0
    assert statuses(cli) == ["finished"]


def test_a_run_is_running_again_only_when_it_is_played_again() -> None:
    with Store(DB) as store:
        play(simulation(store), Console())
        store.connection.execute("UPDATE runs SET status = 'interrupted'")
        store.connection.execute("DELETE FROM years WHERE year = 1")
        [row] = store.rows("SELECT * FROM runs")
        again = take_up(store, row, config_of(row))
        assert again is not None
        assert store.one("SELECT status FROM runs") == "interrupted"


def test_a_fork_that_is_cut_off_before_it_has_its_past_is_no_run() -> None:
    with Store(DB) as store:
        play(simulation(store), Console())
        [row] = store.rows("SELECT name, config FROM runs")
        child = {**row, "parent_run_id": 1, "fork_year": 1}
        with pytest.raises(StoreError):
            store.start_fork(child, [{"run_id": 0, "no such column": 1}])
        assert store.one("SELECT count(*) FROM runs") == 1
        assert store.start_fork(child, []) == 2
        assert store.rows("SELECT year FROM years WHERE run_id = 2") == [{"year": 0}]


def test_posted_calls_survive_a_commit_that_is_interrupted() -> None:
    class Interrupting(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise KeyboardInterrupt

    with Store(DB) as store:
        with store.lock:  # before the writer thread takes it
            store.post({"call_id": 1, "run_id": 1, "signature": "ChooseLabor", "status": "ok", "attempt": 0})
            with pytest.raises(KeyboardInterrupt):
                store.write({"votes": [Interrupting(run_id=1)]})
        store.flush()
        assert store.one("SELECT count(*) FROM lm_calls") == 1


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("interrupts", [1, 2, 3])
def test_every_coroutine_ends_before_the_loop_does_however_many_interrupts_arrive(interrupts: int) -> None:
    ended = []
    with warnings.catch_warnings():  # connections that an earlier test left
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()

    async def slow_to_end() -> None:
        try:
            await asyncio.ensure_future(asyncio.sleep(60))
        finally:
            await asyncio.sleep(0)
            ended.append(asyncio.current_task())

    async def interrupted() -> None:
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def main() -> None:
        await asyncio.gather(*(slow_to_end() for _ in range(5)), *(interrupted() for _ in range(interrupts)))

    with pytest.raises(KeyboardInterrupt):
        run_async(main())
    gc.collect()  # a coroutine that is collected half done prints a traceback, which fails a test here
    assert len(ended) == 5
    assert None not in ended


@pytest.mark.parametrize("number", [CTRL_C, POLITE])
def test_a_study_whose_library_makes_another_error_of_an_interrupt_is_interrupted(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def evaluate(*args: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        raise Exception("Execution cancelled due to errors or interruption.")

    monkeypatch.setattr(Tuning, "_evaluate", evaluate)
    asked = (
        "optimize",
        "worker",
        "--optimizer",
        "labeled",
        "--budget",
        "20",
        "--sizes",
        "2,2,2",
        "--max-timesteps",
        "2",
    )
    ended = cli(*asked, "--max-timesteps", "2", "--llm", "rules", "--db", DB)
    assert (ended.code, ended.err) == (128 + number, "")
    assert cli.sql("SELECT status FROM studies", DB) == [{"status": "interrupted"}]


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_task_that_ignores_a_cancellation_is_cancelled_again(in_a_loop: bool) -> None:
    """`asyncio.wait_for` of Python 3.11 loses a cancellation that arrives together with its result."""

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def interrupted() -> None:
        asyncio.create_task(deaf())  # noqa: RUF006
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def outer() -> None:
        run_async(interrupted())

    raised: list[BaseException] = []

    def play() -> None:
        try:
            asyncio.run(outer()) if in_a_loop else run_async(interrupted())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    thread.join(30)
    assert [type(error) for error in raised] == [KeyboardInterrupt]
