"""The tables of the store for a dataset card: what a row is, and the unit of each column."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.store.schema import schema_text

DOLLARS, PER_PERSON, NUMBER = "dollars a year", "dollars a year per person", "number"
DOLLARS_PAID = "US dollars"
SCORE = "score, 0 to 1"

_COLUMNS_OF_UNITS: Mapping[str, str] = {
    "hours a week": "labor best_labor mean_labor",
    "dollars an hour": "wage shocked_wage",
    DOLLARS: "income income_at_40_hours mean_income tax rebate windfall thresholds revenue utility adjusted_utility "
    "best_utility regret participation_cost",
    PER_PERSON: "welfare welfare_best_response welfare_start welfare_oracle welfare_oracle_grid inverse_income "
    "utilitarian rawlsian atkinson equality_productivity",
    "paper's sum, without a unit": "swf_paper",
    "unit of what the worker maximizes": "objective",
    "percent": "rates rates_beneath",
    "percentage points": "rate_changes",
    "share, 0 to 1": "gini gini_income paper_idle_share",
    "factor": "taste",
    "percent per percent": "elasticity",
    "tokens": "prompt_tokens completion_tokens cached_tokens reasoning_tokens",
    DOLLARS_PAID: "cost_usd",
    "milliseconds": "latency_ms",
    "UTC": "created_at finished_at started_at",
    "year, from 0": "year fork_year last_year",
    "years": "max_timesteps age",
    "probability": "p p_holm",
    SCORE: "scores optimizer_trials.score dev_before dev_after test_before test_after test_low test_high",
    "unit of the metric": "evaluations.score low high detectable",
    "unit of the question": "survey_answers.number",
    "temperature of sampling": "temperature",
    NUMBER: "num_agents workers runs calls trials examples unanswered unparsed budget",
    "key": "run_id parent_run_id agent call_id planner_call_id leader voter candidate ballot archetype trial choice "
    "attempt seed sampling_seed schema_version",
}

UNITS: Mapping[str, str] = {name: unit for unit, names in _COLUMNS_OF_UNITS.items() for name in names.split()}
"""The unit of a column by its name, or by its table's and its own where tables differ; text and truth values have
none."""


def unit_of(table: str, column: str) -> str | None:
    """The unit of a column, or None if it has none.

    >>> unit_of("decisions", "labor"), unit_of("optimizer_trials", "score"), unit_of("decisions", "satisfied")
    ('hours a week', 'score, 0 to 1', None)
    """
    return UNITS.get(f"{table}.{column}", UNITS.get(column))


def descriptions() -> dict[str, str]:
    """What a row of each table is and what its columns mean: the comments of the schema.

    >>> descriptions()["programs"]
    "The programs of runs: each role's strategy and, if one was loaded, its saved state."
    """
    blocks = re.findall(r"((?:^-- .*\n)+)CREATE TABLE IF NOT EXISTS (\w+)\(", schema_text(), re.MULTILINE)
    return {name: " ".join(comment.replace("-- ", "").split()) for comment, name in blocks}
