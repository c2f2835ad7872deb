"""Report questions without a usable answer, by role, after a run or an evaluation, and how to see why."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.printed_commands import command
from pipeline.store.columns import Reader

NOTICEABLE = 0.05
"""Share of a role's questions without a usable answer from which a summary reports it."""

QUESTIONS = """
SELECT role, count(*) AS questions, count_if(NOT answered) AS unanswered
FROM (SELECT role, bool_or(status = 'ok') AS answered FROM lm_calls
      WHERE run_id = ? AND role NOT IN ('preflight', 'interview') GROUP BY role, year, signature, agent)
GROUP BY role ORDER BY role
"""

WHY = (
    "select role, signature, status, error, count(*) as calls from lm_calls where run_id = {run_id} "
    "and status <> 'ok' group by all order by calls desc"
)


def cautions(reader: Reader, run_id: int, db: str) -> Iterator[str]:
    """A caution for each role of a run with too many unanswered questions, and a command that shows why."""
    found = False
    for row in reader.rows(QUESTIONS, [run_id]):
        share = row["unanswered"] / row["questions"]
        if share >= NOTICEABLE:
            found = True
            yield (
                f"Caution, run {run_id}, role {row['role']}: {row['unanswered']:,} of {row['questions']:,} questions "
                f"({share:.0%}) got no usable answer; the previous action was kept"
            )
    if found:
        yield f"Why: {command('sql', WHY.format(run_id=run_id), '--db', db)}"
