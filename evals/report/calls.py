"""Prompts as the model saw them, and the worst decisions with the calls that led to them."""

from __future__ import annotations

from dataclasses import dataclass

from evals.output.number_format import dollars, percent, plain, several
from evals.policies.loaded_run import LoadedRun
from pipeline.store.columns import Reader, Row

LONGEST = 12_000
"""Maximum characters of a prompt or reply on the page: more than any prompt has, few enough for a page."""

PROMPTS = """
WITH asked AS (
    SELECT role, signature, strategy, program, model, count(*) AS calls, max(call_id) AS latest,
           max(call_id) FILTER (status = 'ok') AS answered
    FROM lm_calls WHERE run_id = $1 AND signature <> 'Preflight' GROUP BY ALL)
SELECT asked.*, c.call_id, c.year, c.agent, c.status, c.prompt_tokens, c.completion_tokens,
       left(c.prompt, $2) AS prompt, length(c.prompt) AS prompt_length,
       left(c.response, $2) AS response, length(c.response) AS response_length
FROM asked JOIN lm_calls c ON c.run_id = $1 AND c.call_id = coalesce(answered, latest)
ORDER BY asked.role, asked.signature, asked.strategy, asked.program, asked.model
"""

WORST = """
WITH worst AS (
    SELECT * FROM decisions WHERE run_id = $1
    QUALIFY row_number() OVER (PARTITION BY agent ORDER BY regret DESC, year) = 1
    ORDER BY regret DESC, agent LIMIT $2)
SELECT w.*, coalesce(w.shocked_wage, a.wage) AS wage, a.occupation,
       left(c.prompt, $3) AS prompt, length(c.prompt) AS prompt_length,
       left(c.response, $3) AS response, length(c.response) AS response_length
FROM worst w LEFT JOIN agents a ON a.run_id = w.run_id AND a.agent = w.agent
LEFT JOIN lm_calls c ON c.call_id = w.call_id
ORDER BY w.regret DESC, w.agent
"""


@dataclass(frozen=True)
class Call:
    """A call in the report: a one-line summary, more details, and its texts; both None if no model was asked."""

    title: str
    note: str
    prompt: str | None
    response: str | None


def prompts(reader: Reader, run: LoadedRun) -> list[Call]:
    """The latest answered call of every question, strategy, program and model."""
    return [
        Call(
            f"{row['signature']} ({row['role']}, {row['strategy']}"
            + (f", {row['program']}" if row["program"] else "")
            + f"; {row['model']})",
            f"The latest of {several(row['calls'], 'call')}: year {row['year']}, {_who(row['agent'])}, "
            f"{row['prompt_tokens'] or '?'} + {row['completion_tokens'] or '?'} tokens, status {row['status']}, "
            f"call {row['call_id']}.",
            *texts(row),
        )
        for row in reader.rows(PROMPTS, [run.run_id, LONGEST])
    ]


def worst(reader: Reader, run: LoadedRun, *, most: int) -> list[Call]:
    """The decision with the highest regret of each worker; the `most` highest of those."""
    return [
        Call(
            f"{dollars(row['regret'])}: {_who(row['agent'])}, year {row['year']}: {row['labor']:g} hours; the "
            f"best were {row['best_labor']:.1f}",
            _missed(row) + _source(row["call_id"], fallback=row["fallback"]),
            *texts(row),
        )
        for row in reader.rows(WORST, [run.run_id, most, LONGEST])
    ]


def _missed(row: Row) -> str:
    share = row["regret"] / abs(row["best_utility"]) if row["best_utility"] else None
    who = f"{row['occupation'] or 'A worker'} at ${row['wage']:,.2f} an hour"
    return f"{who}: {percent(share, 1)} of the best utility was lost. "


def _who(agent: int | None) -> str:
    return "the planner" if agent is None else f"worker {agent}"


def _source(call_id: int | None, *, fallback: bool) -> str:
    if fallback:
        return "No reply was usable, so the previous year's hours were kept."
    return "No model was asked." if call_id is None else f"Call {call_id}."


def texts(row: Row) -> tuple[str | None, str | None]:
    """Prompt and reply as shown: control characters spelled out, very long texts cut with a note."""
    prompt, response = (_shown(row[name], row[f"{name}_length"]) for name in ("prompt", "response"))
    return prompt, response


def _shown(text: str | None, length: int) -> str | None:
    if text is None:
        return None
    return plain(text) + (f"\n... ({length - len(text):,} more characters)" if length > len(text) else "")
