"""What rows of a database must be for runs in it to be played on or judged: asked when a command fails that read it.

Whoever wrote a file could write any row, and a check of all rows before every command would cost more than most of the
commands. So rows are believed until something fails that nobody foresaw; then this tells a damaged file from a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from pipeline.errors import EconomistError
from pipeline.store.schema import OPEN_HERE, OPENED

RATES = """len(rates) = 0 OR len(rates) <> len(thresholds)
        OR len(list_filter(rates, lambda rate: (rate BETWEEN 0 AND 100) IS NOT TRUE)) > 0"""
EDGES = "thresholds[1] <> 0 OR thresholds <> list_sort(list_distinct(thresholds))"

FLAWS: Mapping[str, str] = {
    "run {} is there twice, or without a number": """
        SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1 OR run_id IS NULL""",
    "run {} has no model": "SELECT run_id FROM runs WHERE llm IS NULL",
    "run {} is a fork of itself": "SELECT run_id FROM runs WHERE parent_run_id = run_id",
    "run {} has an agent twice, or without a number": """
        SELECT run_id FROM agents GROUP BY run_id, agent HAVING count(*) > 1 OR agent IS NULL""",
    "run {} has agents without a wage above 0 or a known utility type": """
        SELECT run_id FROM agents WHERE (wage > 0 AND isfinite(wage)) IS NOT TRUE
        OR (utility_type IN ('egotistical', 'altruistic', 'adversarial')) IS NOT TRUE""",
    "run {} has not as many agents as it says": """
        SELECT run_id FROM runs JOIN agents USING (run_id) GROUP BY run_id, num_agents
        HAVING (count(*) = num_agents AND max(agent) = count(*) - 1) IS NOT TRUE""",
    "run {} has a year twice, or without a number": """
        SELECT run_id FROM years GROUP BY run_id, year HAVING count(*) > 1 OR (year >= 0) IS NOT TRUE""",
    "the law of year {1} of run {0} is no tax schedule": f"""
        SELECT run_id, year FROM years WHERE rates IS NULL OR thresholds IS NULL OR {RATES} OR {EDGES}""",
    "year {1} of run {0} has no welfare": "SELECT run_id, year FROM years WHERE welfare IS NULL",
    "year {1} of run {0} has not one decision of each agent": """
        WITH people AS (SELECT run_id, count(*) AS n FROM agents GROUP BY run_id),
        decided AS (SELECT run_id, year, count(*) AS rows, count(DISTINCT agent) AS n FROM decisions GROUP BY ALL)
        SELECT run_id, year FROM years JOIN people USING (run_id) LEFT JOIN decided d USING (run_id, year)
        WHERE d.rows IS DISTINCT FROM people.n OR d.n IS DISTINCT FROM people.n""",
    "year {1} of run {0} has a decision without hours from 0 to 100, an income or a utility": """
        SELECT run_id, year FROM decisions WHERE (labor BETWEEN 0 AND 100) IS NOT TRUE
        OR NOT coalesce(isfinite(income) AND isfinite(tax) AND isfinite(utility), false)""",
    "call {} lacks what every call has": """
        SELECT call_id FROM lm_calls WHERE call_id IS NULL OR signature IS NULL OR status IS NULL OR attempt IS NULL
        OR (run_id IS NULL AND study IS NULL)""",
    "a program of run {} is no JSON object": """
        SELECT run_id FROM programs WHERE state IS NOT NULL AND json_type(state) <> 'OBJECT'""",
}
"""What can be wrong with rows, and the query that finds one."""


def flaw() -> str | None:
    """What is wrong with a database that this process has read, in one line; None where nothing is found."""
    from pipeline.simulation.restore import ReadOnlyStore

    for path in OPENED:
        if Path(path).absolute() in OPEN_HERE:
            continue  # opening it once more would end this process's lock
        try:
            with ReadOnlyStore(path) as reader:
                for words, query in FLAWS.items():
                    found = reader.rows(f"{query} LIMIT 1")
                    if found:
                        said = words.format(*found[0].values())
                        return f"{path} is damaged: {said}; take a good copy, or choose another run or --db"
        except EconomistError as error:
            return str(error)
        except duckdb.ProgrammingError as error:
            return f"{path} is damaged: {' '.join(str(error).split())[:160]}"
    return None
