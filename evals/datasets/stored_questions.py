"""Questions of stored runs that have an exact answer: their prompts as sent, their replies, and what to leave out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from evals.datasets.from_traces import TraceDataset, TraceLocation
from pipeline.agents.call_trace import messages_in
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.store.run_lookup import config_of, find_run

Message = dict[str, str]
"""A chat message: `role` and `content`."""

OUTPUT = {"ChooseLabor": "labor", "SetTaxRates": "rate_changes", "CastVote": "vote"}
"""The questions with an exact answer, and the field that holds it."""

ASKED = """
SELECT c.run_id, c.year, coalesce(c.agent, -1) AS agent, any_value(a.utility_type) AS utility_type,
       bool_or(p.candidate IS NOT NULL AND p.rate_changes IS NULL) AS vague
FROM lm_calls c JOIN years y USING (run_id, year)
LEFT JOIN agents a ON a.run_id = c.run_id AND a.agent = c.agent
LEFT JOIN platforms p ON p.run_id = c.run_id AND p.year = c.year AND c.signature = 'CastVote'
WHERE c.signature = ? AND list_contains(?, c.run_id)
GROUP BY ALL ORDER BY ALL
"""

CALLS = """
SELECT coalesce(agent, -1) AS agent, call_id, prompt, parsed, status FROM lm_calls
WHERE signature = ? AND run_id = ? AND year = ? ORDER BY call_id
"""


@dataclass(frozen=True, eq=False)
class StoredQuestion:
    """A question that was asked in a run.

    `messages`: the first prompt as it was sent. `replies`: what was parsed from each usable reply to it, by output
    field. `example`: its inputs, its exact answer, and what is needed to judge others.
    """

    question: str
    place: TraceLocation
    call_id: int
    messages: Sequence[Message]
    replies: Sequence[Mapping[str, Any]]
    example: dspy.Example
    config: RunConfig

    @property
    def phase(self) -> str:
        """`explore` or `exploit`; a vote is always meant to be the best one."""
        return str(self.example.get("phase", "exploit"))


def stored_questions(
    db: str, runs: Sequence[int], question: str, *, explore: bool, skipped: Counter[str]
) -> Iterator[StoredQuestion]:
    """The questions of complete years of `runs` that can be learned from, by run, year and agent.

    `skipped` counts the others by reason. With `explore` also those that were told to explore, whose exact answer is
    nonetheless the one that serves the objective best.
    """
    with TraceDataset(question, db) as mine:
        configs = {run_id: config_of(find_run(mine.reader, str(run_id))) for run_id in runs}
        places = []
        for row in mine.reader.rows(ASKED, [question, list(runs)]):
            if why := _unfit(question, configs[row["run_id"]], row):
                skipped[why] += 1
            else:
                places.append(TraceLocation(row["run_id"], row["year"], row["agent"]))
        economy = mine.economies(runs)
        calls: dict[int, list[dict[str, Any]]] = {}
        read = None
        for place, example in mine.each(places, economy):
            if read != place[:2]:
                read, calls = place[:2], {}
                for call in mine.reader.rows(CALLS, [question, place.run_id, place.year]):
                    calls.setdefault(call["agent"], []).append(call)
            found = _of(question, place, calls[place.agent], example, configs[place.run_id])
            if isinstance(found, str):
                skipped[found] += 1
            elif found.phase == "explore" and not explore:
                skipped["told to explore, where the best answer for the objective is not the task"] += 1
            else:
                yield found


def _unfit(question: str, config: RunConfig, row: Mapping[str, Any]) -> str | None:
    """Why a question has no exact answer, if it has none."""
    if question == "ChooseLabor" and row["utility_type"] != "egotistical":
        return "the worker does not maximize its own utility"
    if question == "SetTaxRates" and config.satisfaction_counts:
        return "dissatisfaction is part of the planner's objective, so that no exact best change is known"
    if question == "CastVote" and ELECTION_RULES[config.election_rule].form != "name":
        return "the ballot holds several names"
    if question == "CastVote" and row["vague"]:
        return "the candidates had no platforms"
    return None


def _of(
    question: str, place: TraceLocation, calls: Sequence[Mapping[str, Any]], example: dspy.Example, config: RunConfig
) -> StoredQuestion | str:
    """The stored question of these `calls`, in order, or why it cannot be learned from."""
    first = calls[0]
    said = messages_in(first["prompt"])
    roles = [role for role, _ in said]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    if talk != ["user", "assistant"] * (len(talk) // 2) + ["user"]:
        return "the stored prompt is not a conversation that ends with a question"
    answers = [json.loads(call["parsed"]) for call in calls if call["status"] == "ok" and call["parsed"]]
    usable = [call for call in calls if call["prompt"] == first["prompt"] and call["status"] == "ok" and call["parsed"]]
    if not answers or any(set(answer) != {OUTPUT[question]} for answer in answers[:1]):
        return "the strategy asks for more than the answer, or no reply was usable, so the exact reply is unknown"
    messages = [{"role": role, "content": text} for role, text in said]
    replies = [json.loads(call["parsed"]) for call in usable]
    return StoredQuestion(question, place, first["call_id"], messages, replies, example, config)


def no_questions(runs: str, skipped: Mapping[str, int]) -> UsageError:
    """The error for runs without a question to learn from."""
    why = "; ".join(f"{count:,} left out: {reason}" for reason, count in sorted(skipped.items()))
    if not why:
        why = "no model was asked for hours, rate changes or votes in a complete year"
    return UsageError(f"export {runs}: no question has an exact answer to learn from ({why})")
