"""The stored rows of one run that its telemetry is made from, year by year and a page of calls at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from pipeline.store.call_rows import INTERVIEW, MOST_ATTEMPTS
from pipeline.store.columns import Reader, Row

PAGE = 2 * MOST_ATTEMPTS
"""Calls that are read at once: more than one question has."""

LONGEST = 100_000
"""The most characters of a prompt or a reply that are read."""

ENDED = "started_at + to_microseconds((1000 * coalesce(latency_ms, 0))::BIGINT)"
"""When a call ended."""

CALLS = f"""
SELECT c.call_id, c.year, c.agent, c.role, c.signature, c.strategy, c.program, c.model, c.temperature, c.sampling_seed,
       c.status, c.error, c.attempt, c.choice, c.prompt_tokens, c.completion_tokens, c.cached_tokens,
       c.reasoning_tokens, c.cost_usd, c.finish_reason, c.started_at,
       {ENDED} AS ended_at,
       d.labor, d.best_labor, d.utility, d.best_utility, d.regret, d.fallback {{content}}
FROM lm_calls c LEFT JOIN decisions d
     ON c.signature = 'ChooseLabor' AND d.run_id = c.run_id AND d.year = c.year AND d.agent = c.agent
WHERE c.run_id = $run AND c.year = $year AND c.call_id >= $first AND c.signature <> $interview
ORDER BY c.call_id LIMIT $page
"""

CONTENT = f", left(c.prompt, {LONGEST}) AS prompt, left(c.response, {LONGEST}) AS response"

TIMES = f"""
SELECT min(started_at) FILTER (year = $year) AS started_at,
       max({ENDED}) FILTER (year = $year) AS ended_at,
       max({ENDED}) FILTER (year < $year) AS before
FROM lm_calls WHERE run_id = $run AND year <= $year AND signature <> $interview
"""

RUN_TIMES = f"""
WITH calls AS (
    SELECT min(started_at) AS first, max({ENDED}) AS last
    FROM lm_calls WHERE run_id = $run AND signature <> $interview)
SELECT least(created_at, first) AS start, coalesce(finished_at, last, created_at) AS "end"
FROM runs, calls WHERE run_id = $run
"""

YEARS = """
SELECT DISTINCT year FROM (
    SELECT year FROM years WHERE run_id = $run
    UNION ALL SELECT year FROM lm_calls WHERE run_id = $run AND signature <> $interview)
WHERE year >= $first ORDER BY year
"""


@dataclass(frozen=True)
class Times:
    """When something began and ended, in UTC."""

    start: datetime
    end: datetime


class RunRows:
    """The rows of the run with the number `run_id`; every property and method reads them again.

    Times are those of its model calls: a year without one begins and ends when the year before it ends.
    """

    def __init__(self, reader: Reader, run_id: int, *, content: bool = False) -> None:
        self.reader, self.run_id, self.content = reader, run_id, content

    def run(self) -> dict[str, Any]:
        return self.reader.rows("SELECT * FROM runs WHERE run_id = ?", [self.run_id])[0]

    def years(self) -> list[int]:
        """The years that this run asked in or played itself; a fork has its first years from its parent."""
        first = self.run()["fork_year"] or 0
        return [row["year"] for row in self._rows(YEARS, {"first": first, "interview": INTERVIEW})]

    def year(self, year: int) -> dict[str, Any] | None:
        """The year's row with the mean regret of its decisions; None for a year that was not completed."""
        query = """SELECT y.*, (SELECT avg(regret) FROM decisions WHERE run_id = $run AND year = $year) AS mean_regret
                   FROM years y WHERE run_id = $run AND year = $year"""
        return next(iter(self._rows(query, {"year": year})), None)

    def times(self, year: int) -> Times:
        """When the year's first call began and its last one ended."""
        [row] = self._rows(TIMES, {"year": year, "interview": INTERVIEW})
        start = row["started_at"] or row["before"] or self.run()["created_at"]
        return Times(start, row["ended_at"] or start)

    def run_times(self) -> Times:
        """From the first call or the run's row, whichever is older, to its end or, without one, to its last call."""
        [row] = self._rows(RUN_TIMES, {"interview": INTERVIEW})
        return Times(row["start"], max(row["start"], row["end"]))

    def questions(self, year: int) -> Iterator[list[Row]]:
        """The calls of the year, a list for each question, in the order in which they were asked."""
        query, first = CALLS.format(content=CONTENT if self.content else ""), 0
        while True:
            known = {"year": year, "first": first, "interview": INTERVIEW, "page": PAGE}
            page = self._rows(query, known)
            if last := len(page) < PAGE:
                whole = page
            else:  # the page may end within a question
                first = page[-1]["call_id"] // MOST_ATTEMPTS * MOST_ATTEMPTS
                whole = [row for row in page if row["call_id"] < first]
            for _, calls in groupby(whole, key=lambda row: row["call_id"] // MOST_ATTEMPTS):
                yield list(calls)
            if last:
                return

    def _rows(self, query: str, known: Row) -> list[dict[str, Any]]:
        return self.reader.rows(query, {"run": self.run_id, **known})
