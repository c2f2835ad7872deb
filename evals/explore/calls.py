"""The stored calls of a decision as markup: the prompts as sent, the reply, what was parsed, and the cost."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.explore import markup
from evals.explore.markup import LONGEST, Html
from pipeline.store.columns import Reader, Row

COLUMNS = f"""
    call_id, run_id, year, agent, role, signature, strategy, program, model, temperature, status, error, attempt,
    left(prompt, {LONGEST}) AS prompt, length(prompt) AS prompt_length, left(response, {LONGEST}) AS response,
    length(response) AS response_length, left(parsed::VARCHAR, {LONGEST}) AS parsed, prompt_tokens, completion_tokens,
    cost_usd, latency_ms, finish_reason
"""

SAME_QUESTION = f"""
WITH decided AS (SELECT run_id, year, agent FROM lm_calls WHERE call_id = $1 AND run_id IS NOT NULL LIMIT 1)
SELECT {COLUMNS} FROM lm_calls
WHERE (run_id, year, agent) IN (SELECT (run_id, year, agent) FROM decided)
   OR (run_id = $2 AND year = $3 AND agent = $4)
ORDER BY call_id <> $1, signature <> 'ChooseLabor', call_id LIMIT 20
"""

ONE = f"SELECT {COLUMNS} FROM lm_calls WHERE call_id = ?"

HEAD = re.compile(r"^### (system|user|assistant|developer)\n", re.MULTILINE)


def calls_of(reader: Reader, decision: Row) -> Sequence[Row]:
    """The attempts behind a decision, that which decided it first, and the other questions to the worker that year."""
    keys = [decision["call_id"], decision["run_id"], decision["year"], decision["agent"]]
    return reader.rows(SAME_QUESTION, keys)


def call(reader: Reader, call_id: int) -> Sequence[Row]:
    """A call, as a list of one; empty if there is none."""
    return reader.rows(ONE, [call_id])


def shown_calls(calls: Sequence[Row]) -> Html:
    """The first call opened, the others folded."""
    if not calls:
        return markup.paragraph("No model was asked.")
    return Html("".join(_shown(call, open=i == 0) for i, call in enumerate(calls)))


def _shown(call: Row, *, open: bool) -> Html:
    cost = "cost unknown" if call["cost_usd"] is None else f"{call['cost_usd']:.6f} dollars"
    title = (
        f"{call['signature']}, attempt {call['attempt']}: {call['status']}; {call['model']}, {call['strategy']}; "
        f"{_count(call['prompt_tokens'])} + {_count(call['completion_tokens'])} tokens, {cost}, "
        f"{call['latency_ms'] or 0:,.0f} ms"
    )
    parts = [markup.paragraph(f"call {call['call_id']}; error: {call['error']}")] if call["error"] else []
    said, length = call["response"], call["response_length"]
    parts += [
        markup.block("parsed", call["parsed"]),
        markup.block("reply", said, length=length),
        *_prompt(call["prompt"], call["prompt_length"]),
    ]
    return markup.folded(title, *parts, open=open)


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else f"{tokens:,}"


def _prompt(prompt: str | None, length: int | None) -> list[Html]:
    """The messages of a stored prompt, each under its role; the last one is told to be cut if the prompt was."""
    if prompt is None:
        return []
    pieces = HEAD.split(prompt)
    messages = list(zip(pieces[1::2], pieces[2::2], strict=True)) or [("prompt", prompt)]
    shown = [(role, said.rstrip("\n")) for role, said in messages]
    lengths = [len(said) for _, said in shown]
    lengths[-1] += (length or 0) - len(prompt)
    return [
        markup.block(f"{role} prompt", said, length=whole) for (role, said), whole in zip(shown, lengths, strict=True)
    ]
