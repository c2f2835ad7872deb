"""`llm-economist interview`: ask one agent of a stored run a question, and print its answer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from evals.output.console import Console
from evals.output.number_format import plain
from evals.run.permissions import NOTHING, Allowed, take
from evals.run.progress import cost_in_words
from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.printed_commands import command
from pipeline.simulation.interviews import Interview
from pipeline.store.reader import check_file
from pipeline.store.run_lookup import find_run
from pipeline.store.writer import Store


@dataclass(frozen=True)
class Asked:
    """Who is asked what, and which model answers; None: the planner, the last year, or the run's own model."""

    question: str
    agent: int | None = None
    year: int | None = None
    llm: str | None = None
    base_url: str | None = None
    allowed: Allowed = NOTHING


def interview(db: str, run: str, asked: Asked, console: Console, *, as_json: bool = False) -> None:
    """Ask, store the calls, and print the answer. EconomistError in one line if there is none."""
    check_file(db)
    with Store(db, serve=True) as store:  # other processes can read while the model answers
        with_whom = Interview(store, find_run(store, run), agent=asked.agent, year=asked.year)
        config, model = with_whom.answering(asked.llm, asked.base_url)
        said = {"llm": asked.llm, "base_url": asked.base_url}
        config = take(with_whom.config, said, config, model, asked.allowed, console)
        llm_agents = LLMAgents(config, model)
        with console.status("asking; Ctrl-C stops"):
            answer = run_async(with_whom.ask(asked.question, llm_agents))
    if as_json:
        print(json.dumps(_as_json(with_whom, llm_agents, answer, asked.question)))
        return
    console = Console(file=console.file, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{_who(with_whom)}, year {with_whom.year} of run {with_whom.run_id} ({llm_agents.shown_model}):\n")
    assert answer.prediction is not None
    console.print(plain(answer.prediction.answer))
    console.print(
        f"\ncall {answer.call_id}; tokens {llm_agents.usage.prompt_tokens:,} + {llm_agents.usage.completion_tokens:,}; "
        f"cost {cost_in_words(llm_agents.usage)}; the whole prompt: " + command("show", answer.call_id, "--db", db)
    )


def chosen(agent: int | None, *, planner: bool) -> int | None:
    """The agent to ask, None for the planner. UsageError unless exactly one is named."""
    if planner == (agent is not None):
        raise UsageError("give either --agent N or --planner")
    return agent


def _who(with_whom: Interview) -> str:
    leader = " (the elected leader)" if with_whom.role == "voter" else ""
    return "the planner" if with_whom.agent is None else f"worker {with_whom.agent}{leader}"


def _as_json(with_whom: Interview, llm_agents: LLMAgents, answer: Answer, question: str) -> dict[str, object]:
    usage = llm_agents.usage
    assert answer.prediction is not None
    return {
        "run_id": with_whom.run_id,
        "year": with_whom.year,
        "agent": with_whom.agent,
        "question": question.strip(),
        "answer": str(answer.prediction.answer),
        "call_id": answer.call_id,
        "model": llm_agents.model,
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost_usd": None if usage.unpriced else usage.cost_usd,
    }
