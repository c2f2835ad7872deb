"""Print query results, the list of saved queries, and single model calls."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import duckdb

from evals.output import formats
from evals.output.console import Console
from evals.output.files import whole_file
from evals.output.number_format import plain
from evals.output.tables import rich_table
from evals.sql import saved_queries
from pipeline.errors import StoreError, UsageError
from pipeline.printed_commands import command
from pipeline.store.older_schema import LACKING, how_to_compute_them
from pipeline.store.query import Answer, ask, select
from pipeline.store.reader import SECONDS, connect
from pipeline.store.schema import OPEN_HERE
from programs.text_files import decoded

ROWS = 1000
"""Rows of a table without --limit; files and data formats are complete."""

RUNS = """
SELECT run_id, name, status, scenario, llm, planner_type AS planner, years_played || '/' || max_timesteps AS years,
       last_welfare AS welfare, cost_usd AS cost, strftime(created_at, '%Y-%m-%d %H:%M') AS created_utc
FROM run_summary ORDER BY run_id
"""

CALL = """
SELECT c.*, d.labor, d.utility, d.best_labor, d.best_utility, d.regret, d.satisfied,
       y.rates, y.rate_changes, y.welfare, y.welfare_best_response
FROM calls c
LEFT JOIN decisions d ON d.run_id = c.run_id AND d.year = c.year AND d.agent = c.agent
LEFT JOIN years y ON y.run_id = c.run_id AND y.year = c.year AND y.planner_call_id = c.call_id
WHERE c.call_id = ?
"""


def print_runs(db: str, *, as_json: bool = False) -> None:
    """Print one row per run; JSON has all columns."""
    if as_json:
        with ask(db, "FROM run_summary ORDER BY run_id") as answer:
            formats.write_json(answer, sys.stdout)
    else:
        with ask(db, RUNS) as answer:
            formats.write_table(answer, sys.stdout, fold=True)
    _tell_what_is_older(db)


def print_query(
    db: str,
    text: str,
    *,
    parameters: Sequence[str] = (),
    format: str | None = None,
    output: str | None = None,
    limit: int | None = None,
    seconds: float = SECONDS,
    raw_csv: bool = False,
) -> None:
    """Print or write the result of a saved query or one SELECT; notices go to standard error."""
    question = asked(text)
    form = _format(format, output)
    if raw_csv and form != "csv":
        raise UsageError(f"--raw-csv is for --format csv; the format is {form}")
    write: Callable[[Answer, TextIO], None] | None = formats.FORMATS.get(form)
    if raw_csv:
        write = partial(formats.write_csv, raw=True)
    limit = ROWS if limit is None and form in ("table", "markdown") else limit
    values, lookups = question.bind(parameters)

    @contextmanager
    def answered() -> Iterator[Answer]:
        with patience(), ask(db, question.sql, values, lookups=lookups, limit=limit, seconds=seconds) as answer:
            yield answer

    if output is None:
        with answered() as answer:
            assert write is not None  # _format refuses Parquet without a file
            write(answer, sys.stdout)
    else:
        with whole_file(output, not_over=db) as part, answered() as answer:
            if write is None:
                formats.write_parquet(answer, part)
            else:
                with part.open("w", encoding="utf-8", newline="") as out:
                    write(answer, out)
    if not answer.taken and form == "table":
        _notice("no rows")
    _tell_what_is_older(db)
    if answer.more:
        _notice(f"first {limit:,} rows, and there are more: --limit N, or --output FILE.csv for all")


def asked(text: str) -> saved_queries.Question:
    """A saved query by name, or one SELECT; `-` stands for standard input."""
    return saved_queries.question(_typed() if text == "-" else text)


def _typed() -> str:
    """The text on standard input. UsageError if it is not text."""
    try:
        return decoded(sys.stdin.buffer.read())
    except ValueError as error:
        raise UsageError(f"standard input: {error}") from None


def _format(format: str | None, output: str | None) -> str:
    """The requested format, or that of the output's suffix, or a table."""
    form = format or (formats.SUFFIXES.get(Path(output).suffix.lower()) if output else None) or "table"
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs --output FILE")
    if form != "parquet" and form not in formats.FORMATS:
        raise UsageError(f"--format {form}: expected {', '.join(formats.FORMATS)} or parquet")
    return form


@contextmanager
def patience() -> Iterator[None]:
    """Show on a terminal that a query is running, if it takes longer than two seconds."""
    console = Console(stderr=True)
    status = console.status("the query is still running; Ctrl-C stops it")
    timer = threading.Timer(2, status.start)
    timer.daemon = True
    if console.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        status.stop()


def _tell_what_is_older(db: str) -> None:
    """Print which runs are of an older version, as long as `eval` has not computed their missing figures."""
    if Path(db).absolute() in OPEN_HERE:
        return  # opening it once more would end this process's lock
    try:
        with connect(db) as connection:
            lacking = [run_id for (run_id,) in connection.execute(LACKING).fetchall()]
    except (StoreError, UsageError, duckdb.Error):
        return  # a file without such tables, or one that another process writes
    if lacking:
        _notice(how_to_compute_them(lacking, db))


def _notice(text: str) -> None:
    Console(stderr=True).print(text, style="dim", soft_wrap=True, highlight=False, markup=False)


def print_questions(*, as_json: bool = False) -> None:
    """Print the saved queries with their help and parameters."""
    known = saved_queries.questions().values()
    if as_json:
        listed = [
            {
                "name": one.name,
                "help": " ".join(one.help),
                "parameters": [vars(p) for p in one.parameters],
                "chart": vars(one.chart) if one.chart else None,
            }
            for one in known
        ]
        print(json.dumps(listed, indent=1))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for question in known:
        console.print(question.name, style="bold")
        for line in question.help:
            console.print(f"  {line}")
        for parameter in question.parameters:
            console.print(f"  --param {parameter}", style="dim")
        if question.chart:
            console.print(f"  --figure FILE.svg draws a {question.chart}", style="dim")


def print_strategies(*, as_json: bool = False) -> None:
    """Print the prompt strategies with their cost: model calls per question if every reply is usable."""
    from programs.strategies.registry import SEPARATOR, STRATEGIES

    rows = [
        {
            "strategy": name,
            "calls": list(entry.calls(entry.count or 1)),
            "count": entry.count,
            "help": entry.help,
        }
        for name, entry in STRATEGIES.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    cells = []
    for name, entry in STRATEGIES.items():
        least, most = entry.calls(entry.count or 1)
        count = f" (N = {entry.count}; {name}{SEPARATOR}N sets it)" if entry.count else ""
        cells.append([name, str(least) if least == most else f"{least}-{most}", f"{entry.help}{count}"])
    console = Console(highlight=False)
    console.print(rich_table(["strategy", "calls", "what is asked"], cells, left=range(3)))
    console.print("Your own: --strategy worker=my_module:MyStrategy (docs/extending.md)", soft_wrap=True)


def print_call(db: str, call_id: int) -> None:
    """Print one call: its location, the whole prompt, the reply, the parsed values and the outcome."""
    result = select(db, CALL, [call_id])
    if not result.rows:
        raise UsageError(
            f"no call {call_id} in {db}; find one with: "
            + command("sql", "select call_id, signature, status from lm_calls", "--db", db)
        )
    call = dict(zip(result.columns, result.rows[0], strict=True))
    text = {name: plain(value) for name, value in call.items()}
    console = Console(soft_wrap=True, highlight=False, markup=False)
    who = "the planner" if call["agent"] is None else f"worker {call['agent']}"
    where = f"run {call['run_id']}, year {call['year']}, {who}" if call["study"] is None else f"study {call['study']}"
    console.print(
        f"call {call_id}: {where}, {call['signature']} "
        f"({call['role']}, {call['strategy']}), {call['model']}, attempt {call['attempt']}"
    )
    console.print(
        f"status {text['status']}{': ' + text['error'] if call['error'] else ''}; "
        f"tokens {text['prompt_tokens'] or '?'} + {text['completion_tokens'] or '?'}; "
        f"cost {text['cost_usd'] or '?'} dollars; {call['latency_ms']:.1f} ms"
    )
    for title, name in (("prompt", "prompt"), ("reply", "response"), ("parsed", "parsed")):
        console.rule(title, align="left")
        console.print(text[name] if call[name] is not None else "(none)")
    if call["labor"] is not None:
        console.rule("outcome of the year", align="left")
        best = how_to_compute_them([call["run_id"]], db)
        if call["regret"] is not None:
            best = f"best {call['best_labor']:.1f} hours, {call['best_utility']:,.0f}; "
            best += f"regret {call['regret']:,.0f} dollars"
        console.print(f"worked {text['labor']} hours, utility {call['utility']:,.0f}; {best}")
    if call["rates"] is not None:
        console.rule("outcome of the schedule", align="left")
        console.print(
            f"rates {text['rates']} after changes of {text['rate_changes']}; welfare {text['welfare']} that year, "
            f"{text['welfare_best_response']} if every worker best-responded"
        )
