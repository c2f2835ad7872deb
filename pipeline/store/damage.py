"""Check the rows of a database for damage after a command has failed unexpectedly.

A file from elsewhere can contain any rows, but checking all of them before every command would cost more than most
commands. So rows are trusted until an unexpected failure; this check then tells a damaged file from a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from pipeline.errors import EconomistError
from pipeline.store.schema import OPEN_HERE, OPENED

RATES = """len(rates) = 0 OR len(rates) <> len(thresholds)
        OR len(list_filter(rates, lambda rate: (rate BETWEEN -100 AND 100) IS NOT TRUE)) > 0"""
EDGES = "thresholds[1] <> 0 OR thresholds <> list_sort(list_distinct(thresholds))"

FLAWS: Mapping[str, str] = {
    "run {} appears twice, or has no number": """
        SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1 OR run_id IS NULL""",
    "run {} has no model": "SELECT run_id FROM runs WHERE llm IS NULL",
    "run {} is a fork of itself": "SELECT run_id FROM runs WHERE parent_run_id = run_id",
    "run {} has a duplicate agent, or one without a number": """
        SELECT run_id FROM agents GROUP BY run_id, agent HAVING count(*) > 1 OR agent IS NULL""",
    "run {} has agents without a wage above 0 or a known utility type": """
        SELECT run_id FROM agents WHERE (wage > 0 AND isfinite(wage)) IS NOT TRUE
        OR (utility_type IN ('egotistical', 'altruistic', 'adversarial')) IS NOT TRUE""",
    "run {} does not have num_agents agents": """
        SELECT run_id FROM runs JOIN agents USING (run_id) GROUP BY run_id, num_agents
        HAVING (count(*) = num_agents AND max(agent) = count(*) - 1) IS NOT TRUE""",
    "run {} has a duplicate year, or one without a number": """
        SELECT run_id FROM years GROUP BY run_id, year HAVING count(*) > 1 OR (year >= 0) IS NOT TRUE""",
    "the rates of year {1} of run {0} are not a valid tax schedule": f"""
        SELECT run_id, year FROM years WHERE rates IS NULL OR thresholds IS NULL OR {RATES} OR {EDGES}""",
    "year {1} of run {0} has no welfare": "SELECT run_id, year FROM years WHERE welfare IS NULL",
    "year {1} of run {0} does not have one decision per agent": """
        WITH people AS (SELECT run_id, count(*) AS n FROM agents GROUP BY run_id),
        decided AS (SELECT run_id, year, count(*) AS rows, count(DISTINCT agent) AS n FROM decisions GROUP BY ALL)
        SELECT run_id, year FROM years JOIN people USING (run_id) LEFT JOIN decided d USING (run_id, year)
        WHERE d.rows IS DISTINCT FROM people.n OR d.n IS DISTINCT FROM people.n""",
    "year {1} of run {0} has a decision without hours from 0 to 100, an income or a utility": """
        SELECT run_id, year FROM decisions WHERE (labor BETWEEN 0 AND 100) IS NOT TRUE
        OR NOT coalesce(isfinite(income) AND isfinite(tax) AND isfinite(utility), false)""",
    "call {} lacks a required value": """
        SELECT call_id FROM lm_calls WHERE call_id IS NULL OR signature IS NULL OR status IS NULL OR attempt IS NULL
        OR (run_id IS NULL AND study IS NULL)""",
    "a program of run {} is not a JSON object": """
        SELECT run_id FROM programs WHERE state IS NOT NULL AND json_type(state) <> 'OBJECT'""",
}
"""Kinds of damage, each with a query for the rows that have it."""


def flaw() -> str | None:
    """One line about the first damage in a database that this process has read, or None."""
    from pipeline.store.reader import ReadOnlyStore

    for path in OPENED:
        if Path(path).absolute() in OPEN_HERE:
            continue  # opening and closing the file again would release this process's lock
        try:
            with ReadOnlyStore(path) as reader:
                for words, query in FLAWS.items():
                    found = reader.rows(f"{query} LIMIT 1")
                    if found:
                        said = words.format(*found[0].values())
                        return f"{path} is damaged: {said}; restore a good copy, or choose another run or --db"
        except EconomistError as error:
            return str(error)
        except duckdb.ProgrammingError as error:
            return f"{path} is damaged: {' '.join(str(error).split())[:160]}"
    return None
