"""`bench decisions`: processor time of a decision in this program, against plain DSPy and the openai client.

Each way answers the same questions of the same economy, in turns. The minimum over rounds counts, because other work on
the machine only adds time. `rules` answers from a cache, so that its own computation is not measured.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dspy
import openai
from dspy import lm15

from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation, labor_inputs
from pipeline.store.columns import row_of
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine
from signatures.worker import ChooseLabor

LATENCY = 0.1
"""Seconds until the loopback server answers."""

IN_FLIGHT = 100
"""Concurrent questions at the server."""

Inputs = Sequence[tuple[int, dict[str, str]]]
"""Agents and the inputs that they are shown."""

Way = Callable[[Inputs], Coroutine[Any, Any, float]]
"""Asks all questions and returns the seconds of processor time, without setup."""


class Remembering:
    """`rules` with a cache: it answers a known prompt without computing."""

    supported_params = frozenset({"seed"})
    replies: dict[tuple[str, str], lm15.Response] = {}  # noqa: RUF012  shared: programs make their own engine

    def __init__(self) -> None:
        self.rules = RulesEngine()

    def complete(self, request: lm15.Request) -> lm15.Response:
        asked = str(request.system), str(request.messages[-1].text)
        if asked not in self.replies:
            self.replies[asked] = self.rules.complete(request)
        return self.replies[asked]


class RememberingAsync:
    """The asynchronous form, which DSPy needs for coroutines."""

    def __init__(self, engine: Remembering) -> None:
        self.engine = engine

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return self.engine.complete(request)


ENGINE = "engine:evals.bench.decisions:Remembering"
MODEL = "gpt-4o-mini"

WAYS = (("io", "compact"), ("io", "chat"), ("io", "json"), ("io", "xml"), ("cot", "compact"), ("sc", "compact"))
"""Strategies and formats that are timed in this process."""


def measure(*, decisions: int, rounds: int) -> dict[str, float]:
    """Milliseconds of processor time per decision; `x`: multiple of bare DSPy in this process, or of bare openai by
    HTTP.

    `decisions`: questions per round. By HTTP, the server is another process, and its time is not counted.
    """
    inputs = questions(decisions)
    with tempfile.TemporaryDirectory() as folder, server() as url:
        inside: dict[str, Way] = {"bare_dspy": _bare(_lm())}
        for strategy, adapter in WAYS:
            inside[f"{strategy}_{adapter}"] = _ours(folder, strategy=strategy, adapter=adapter, llm=ENGINE)
        outside: dict[str, Way] = {"http_bare_openai": _openai(url)}
        for adapter in ("compact", "chat"):
            outside[f"http_io_{adapter}"] = _ours(folder, adapter=adapter, llm=MODEL, base_url=url)
        return _compared(inside, inputs, rounds) | _compared(outside, inputs, rounds)


def questions(count: int) -> Inputs:
    """The inputs of the workers of an economy of 100 in its fiftieth year, `count` in all."""
    config = RunConfig(num_agents=100, max_timesteps=50, two_timescale=10, llm="rules")
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/economy.duckdb") as store:
        simulation = Simulation(config, store, LLMAgents(config, "rules"))
        run_async(simulation.play())
    shown = [labor_inputs(simulation.world, agent, 49) for agent in range(config.num_agents)]
    return [(i % config.num_agents, shown[i % config.num_agents]) for i in range(count)]


@contextmanager
def server(latency: float = LATENCY) -> Iterator[str]:
    """The URL of a loopback server in another process."""
    command = [sys.executable, "-m", "evals.testing.openai_server", "--port", "0", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def _compared(ways: dict[str, Way], inputs: Inputs, rounds: int) -> dict[str, float]:
    """The minimum milliseconds per decision of each way; `x`: multiple of the first way. One warm-up round is not
    counted."""
    least: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, way in ways.items():
            spent = run_async(way(inputs)) / len(inputs) * 1000
            if number:
                least[name] = min(spent, least.get(name, spent))
    first = least[next(iter(ways))]
    beside = {f"{name}_x": spent / first for name, spent in list(least.items())[1:]}
    return {f"{name}_ms": spent for name, spent in least.items()} | beside


async def _timed(work: Iterable[Awaitable[object]]) -> float:
    """Seconds of processor time, over all threads, to await all of `work` concurrently."""
    begun = time.process_time()
    await asyncio.gather(*work)
    return time.process_time() - begun


def _lm() -> dspy.LM:
    """A plain DSPy language model, without this program's settings."""
    engine = Remembering()
    return dspy.LM("remembering", engine=engine, async_engine=RememberingAsync(engine), cache=False)


def _bare(lm: dspy.LM) -> Way:
    """`dspy.Predict` with `dspy.ChatAdapter`, no traces."""
    predict = dspy.Predict(ChooseLabor)

    async def ask(inputs: Inputs) -> float:
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            return await _timed(predict.acall(**shown) for _, shown in inputs)

    return ask


def _ours(folder: str, *, strategy: str = "io", **settings: Any) -> Way:
    """The way of a run: every trace is written to a database."""
    config = RunConfig(num_agents=100, prompt_algo=strategy, concurrency=IN_FLIGHT, **settings)

    async def ask(inputs: Inputs) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as place, Store(f"{place}/traces.duckdb") as store:
            llm_agents = LLMAgents(config, str(config.llm))
            llm_agents.enter(1, lambda call: store.post(row_of(call)))

            async def one(number: int, agent: int, shown: dict[str, str]) -> None:
                answer = await llm_agents.ask("ChooseLabor", shown, year=number // config.num_agents, agent=agent)
                assert answer.prediction is not None

            spent = await _timed(one(number, *asked) for number, asked in enumerate(inputs))
            begun = time.process_time()
            store.write({})
            return spent + time.process_time() - begun

    return ask


def _openai(url: str) -> Way:
    """`openai.AsyncOpenAI` with the same prompts in DSPy's format, `IN_FLIGHT` concurrent calls, no traces."""

    async def ask(inputs: Inputs) -> float:
        turn = asyncio.Semaphore(IN_FLIGHT)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=60) as client:

            async def one(shown: dict[str, str]) -> None:
                messages = dspy.ChatAdapter().format(ChooseLabor, [], shown)
                async with turn:
                    await client.chat.completions.create(model=MODEL, messages=messages)

            return await _timed(one(shown) for _, shown in inputs)

    return ask
