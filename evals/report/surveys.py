"""Tables of the report on the surveys of a run: what its workers answered, by wage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from evals.output.number_format import MISSING, number, percent, several
from evals.output.tables import Table
from evals.policies.loaded_run import LoadedRun
from pipeline.store.columns import Reader
from signatures.texts.survey import SurveyQuestion

GROUPS = ("lowest third by wage", "middle third", "highest third", "all")

ANSWERS = """
WITH people AS (SELECT agent, ntile(3) OVER (ORDER BY wage, agent) AS third FROM agents WHERE run_id = $1),
given AS (SELECT *, kind = 'number' AS is_number FROM survey_answers JOIN people USING (agent)
          WHERE run_id = $1 AND kind <> 'text')
SELECT survey, year, model, question, asked, is_number, CASE WHEN is_number THEN 'mean' ELSE text END AS answer,
       [count(*) FILTER (third = 1), count(*) FILTER (third = 2), count(*) FILTER (third = 3), count(*)] AS given,
       [avg(number) FILTER (third = 1), avg(number) FILTER (third = 2), avg(number) FILTER (third = 3), avg(number)]
           AS means
FROM given GROUP BY ALL ORDER BY ALL
"""


def surveys(reader: Reader, run: LoadedRun) -> list[Table]:
    """The answers to each survey by thirds of the wage: shares of the answers, means of numbers. Answers in words are
    left out."""
    rows = reader.rows(ANSWERS, [run.run_id])
    return [
        _table(run, place, list(answers))
        for place, answers in groupby(rows, lambda row: (row["survey"], row["year"], row["model"]))
    ]


def _table(run: LoadedRun, place: tuple[str, int, str], rows: Sequence[dict[str, Any]]) -> Table:
    survey, year, model = place
    cells, people = [], 0
    for _, answers in groupby(rows, lambda row: (row["question"], row["asked"])):
        same = list(answers)
        totals = [sum(row["given"][i] for row in same) for i in range(len(GROUPS))]
        people = max(people, totals[-1])
        for row in same:
            values = row["means"] if row["is_number"] else _shares(row["given"], totals)
            shown = [number(value) if row["is_number"] else percent(value) for value in values]
            cells.append([SurveyQuestion.parse(row["asked"]).ask, row["answer"], *shown, str(totals[-1])])
    caption = (
        f"{run.label}: answers of {several(people, 'worker')} to the survey {survey}, year {year} ({model}). Shares of "
        f"the answers, or the mean of a number; {MISSING}: no answer in this group. Answers in words are in "
        "survey_answers."
    )
    return Table(caption, ["question", "answer", *GROUPS, "answers"], cells, numeric=frozenset(range(2, 7)))


def _shares(given: Sequence[int], totals: Sequence[int]) -> list[float | None]:
    return [count / total if total else None for count, total in zip(given, totals, strict=True)]
