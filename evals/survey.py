"""`llm-economist interview --all --survey FILE`: ask typed questions of all agents or a sample."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from evals.interview import Asked
from evals.output.console import Console
from evals.output.number_format import several
from evals.run.permissions import take
from evals.run.progress import cost_in_words
from evals.survey_file import Survey, SurveyEntry, read_survey
from pipeline.agents.agents import LLMAgents
from pipeline.errors import ModelError, UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.printed_commands import command
from pipeline.simulation.interviews import Interview
from pipeline.store.columns import Row
from pipeline.store.reader import check_file
from pipeline.store.run_lookup import find_run
from pipeline.store.writer import Store

KNOWN = """
SELECT agent, question FROM survey_answers
WHERE run_id = ? AND year = ? AND survey = ? AND model = ? AND asked = ? AND question = ?
"""


ANSWERS = """
SELECT agent, question, kind, text, number FROM survey_answers
WHERE run_id = ? AND year = ? AND survey = ? AND model = ? AND list_contains(?, agent)
AND list_contains(?, {'question': question, 'asked': asked}) ORDER BY question, agent
"""


@dataclass(frozen=True)
class Whom:
    """`sample`: how many agents, drawn with `seed`; None: all that a model decides for."""

    sample: int | None = None
    seed: int = 0


def survey(db: str, run: str, path: str, whom: Whom, asked: Asked, console: Console, *, as_json: bool = False) -> None:
    """Ask every question of every agent, one after the other, and store each answer once it is there.

    Answers that this survey has already, to the same words by the same model, are not paid for again. EconomistError in
    one line if no answer could be used.
    """
    check_file(db)
    form = read_survey(path)
    with Store(db, serve=True) as store:
        row = find_run(store, run)
        first = Interview(store, row, agent=_workers(store, int(row["run_id"]))[0], year=asked.year)
        config, model = first.answering(asked.llm, asked.base_url)
        said = {"llm": asked.llm, "base_url": asked.base_url}
        config = take(first.config, said, config, model, asked.allowed, console)
        llm_agents, people = LLMAgents(config, model), _chosen(store, first.run_id, whom)
        new, failed = _ask_all(store, row, form, people, llm_agents, first.year, console)
        words = [{"question": name, "asked": str(entry.question)} for name, entry in form.questions.items()]
        rows = store.rows(ANSWERS, [first.run_id, first.year, form.name, llm_agents.model, people, words])
    if not rows:
        raise ModelError(f"{llm_agents.shown_model} gave no usable answer ({llm_agents.hearing.failure()})")
    if as_json:
        about = {"run_id": first.run_id, "year": first.year, "survey": form.name, "failed": failed}
        print(json.dumps({**about, "answers": rows}))
        return
    console.print(
        f"{form.name}: {several(len(form.questions), 'question')} to {several(len(people), 'agent')} "
        f"of run {first.run_id}, year {first.year} ({llm_agents.shown_model}): {several(new, 'new answer')}, "
        f"{failed} unusable; cost {cost_in_words(llm_agents.usage)}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    told = command("sql", "survey", "--param", f"run_id={first.run_id}", "--db", db)
    console.print(f"Cross-tabs: {told}", highlight=False, soft_wrap=True, markup=False)


def _workers(store: Store, run_id: int) -> list[int]:
    """The agents that a model decides for. UsageError if there is none."""
    rows = store.rows("SELECT agent FROM agents WHERE run_id = ? AND asked ORDER BY agent", [run_id])
    if not rows:
        raise UsageError(f"--all: no model decided for a worker of run {run_id}; there is no one to ask")
    return [row["agent"] for row in rows]


def _chosen(store: Store, run_id: int, whom: Whom) -> list[int]:
    workers = _workers(store, run_id)
    if whom.sample is None or whom.sample >= len(workers):
        return workers
    drawn = np.random.default_rng([whom.seed, crc32(b"survey")]).choice(len(workers), whom.sample, replace=False)
    return sorted(workers[i] for i in drawn)


def _ask_all(
    store: Store, row: Row, form: Survey, people: list[int], llm_agents: LLMAgents, year: int, console: Console
) -> tuple[int, int]:
    """Ask what is not answered yet; returns the numbers of new answers and of unusable ones."""
    new = failed = 0
    with console.status("asking; Ctrl-C stops, and the same command continues"):
        for agent in people:
            whom = Interview(store, row, agent=agent, year=year)
            for name, entry in form.questions.items():
                known = [whom.run_id, year, form.name, llm_agents.model, str(entry.question), name]
                if any(each["agent"] == agent for each in store.rows(KNOWN, known)):
                    continue
                try:
                    answer = run_async(whom.ask(str(entry.question), llm_agents, answer=entry.answer))
                except ModelError:
                    failed += 1
                    continue
                assert answer.prediction is not None
                value = answer.prediction.answer
                store.write({"survey_answers": [_row(known, agent, entry, value, answer.call_id)]})
                new += 1
    return new, failed


def _row(known: list[Any], agent: int, entry: SurveyEntry, value: Any, call_id: int | None) -> Row:
    run_id, year, survey, model, asked, question = known
    return {
        "run_id": run_id,
        "year": year,
        "agent": agent,
        "survey": survey,
        "question": question,
        "asked": asked,
        "kind": entry.type,
        "text": {True: "yes", False: "no"}[value] if entry.type == "yes/no" else str(value),
        "number": float(value) if entry.type in ("yes/no", "number") else None,
        "model": model,
        "call_id": call_id,
    }
