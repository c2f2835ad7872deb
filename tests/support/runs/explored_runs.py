"""Two small runs for tests of the explorer, and the same as if models and file were hostile."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
from rich.console import Console

from evals.run.command import run

DB = "explored.duckdb"
BOUNDED, DEMOCRATIC = 1, 2
PEOPLE, YEARS, TAX_YEAR = 4, 6, 3

HOSTILE = (
    "</pre></details><script>window.owned=1</script><img src=x onerror='owned=1'>**b** [a](javascript:owned=1)"
    "\x1b[2J![](http://127.0.0.1:9/x.png) {{x}}"
)
"""Markup of every kind, and an escape sequence of terminals."""

LONG = 5_000_000
"""Characters of the longest reply."""


def play(folder: Path) -> str:
    """The path of a database with a bounded run and a democratic one."""
    common = {"db": str(folder / DB), "log_dir": str(folder), "llm": "rules", "num_agents": PEOPLE}
    common |= {"max_timesteps": YEARS, "two_timescale": TAX_YEAR}
    for settings in ({"scenario": "bounded"}, {"scenario": "democratic", "platforms": True}):
        assert run({**common, **settings}, Console(file=io.StringIO())) == 0
    return str(folder / DB)


def poison(db: str) -> None:
    """Put `HOSTILE` into every text that a model or the maker of a file controls; one reply is long."""
    with duckdb.connect(db) as store:
        store.execute("UPDATE agents SET persona = $1, occupation = $1, utility_type = $1", [HOSTILE])
        store.execute("UPDATE lm_calls SET prompt = prompt || $1, response = $1, error = $1, model = $1", [HOSTILE])
        store.execute("UPDATE lm_calls SET role = $1, signature = $1, strategy = $1 WHERE agent = 1", [HOSTILE])
        store.execute("UPDATE lm_calls SET parsed = to_json($1), status = $1 WHERE agent = 1", [HOSTILE])
        store.execute(
            "UPDATE lm_calls SET response = $1 || repeat('x', $2) WHERE agent = 1 AND year = 3", [HOSTILE, LONG]
        )
        store.execute("UPDATE runs SET name = $1, status = $1", [HOSTILE])
        store.execute(
            "INSERT INTO studies(study, created_at, status, role, metric, llm) VALUES ($1, now(), $1, $1, $1, $1)",
            [HOSTILE],
        )
        for trial in (0, 1):
            store.execute(
                "INSERT INTO optimizer_trials(study, trial, split, score, prompt, program) "
                "VALUES ($1, $2, $1, 0.5, $1 || $2, to_json($1))",
                [HOSTILE, trial],
            )
        store.execute(
            "INSERT INTO evaluations(subject, study, arm, reference, metric, score, low, high) "
            "VALUES ('difference', $1, $1, $1, $1, 1, 0, 2)",
            [HOSTILE],
        )
