"""Answers as tables, Markdown, CSV, JSON and Parquet: nothing is lost, and nothing moves a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from support.command_line import CommandLine

from evals.output import formats
from evals.output.number_format import plain
from pipeline.store.query import Answer, ask, select
from pipeline.store.writer import Store

DB = "traces.duckdb"

KINDS = """
SELECT 1 AS whole, 2.5::DOUBLE AS fraction, 1.25 AS decimal, sum(3) AS total, NULL AS nothing, '' AS empty, true AS yes,
       'a, "b"' AS quoted, E'two\nlines' AS lines, 'x|y' AS bar, [1, NULL, 3] AS list, {'a': 1, 'b': [2]} AS struct,
       'nan'::DOUBLE AS nan, DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05' AS moment, 'é日本' AS wide,
       INTERVAL 3 DAYS AS span, 'x'::ENUM('x', 'y') AS choice, MAP {'k': 1} AS map, '{"a": 1}'::JSON AS json,
       '\\x00\\xFF'::BLOB AS bytes, 1 AS same, 2 AS same
"""


@pytest.fixture(autouse=True)
def store(nobody_pays: None) -> None:
    with Store(DB) as made:
        made.start_run({"name": "one"})


@pytest.fixture
def kinds() -> Iterator[Answer]:
    with ask(DB, KINDS) as answer:
        yield answer


def test_python_values_are_what_one_expects() -> None:
    result = select(DB, KINDS)
    row = dict(zip(result.columns, result.rows[0], strict=True))
    assert (row["whole"], row["fraction"], row["total"], row["nothing"], row["yes"]) == (1, 2.5, 3, None, True)
    assert type(row["total"]) is int
    assert (row["list"], row["struct"]) == ([1, None, 3], {"a": 1, "b": [2]})
    assert (row["span"], row["choice"], row["map"], row["json"]) == ("3 days", "x", "{k=1}", '{"a": 1}')
    assert (row["same"], row["same_1"]) == (1, 2)
    assert row["bytes"] == "\\x00\\xFF"


def test_sums_beyond_64_bits_are_exact() -> None:
    query = "SELECT 170141183460469231731687303715884105727 AS most, (-5)::HUGEINT AS few, NULL::HUGEINT AS none"
    assert select(DB, query).rows == [(2**127 - 1, -5, None)]


def test_json_is_strict_and_keeps_nesting(kinds: Answer) -> None:
    out = io.StringIO()
    formats.write_json(kinds, out)
    (row,) = json.loads(out.getvalue(), parse_constant=pytest.fail)
    assert (row["fraction"], row["decimal"], row["total"]) == (2.5, 1.25, 3)
    assert (row["nothing"], row["nan"], row["empty"], row["yes"]) == (None, None, "", True)
    assert (row["list"], row["struct"]) == ([1, None, 3], {"a": 1, "b": [2]})
    assert (row["day"], row["moment"], row["wide"]) == ("2026-01-02", "2026-01-02 03:04:05", "é日本")
    assert (row["same"], row["same_1"]) == (1, 2)


def test_json_of_no_rows_is_an_empty_list() -> None:
    out = io.StringIO()
    with ask(DB, "SELECT 1 WHERE false") as answer:
        formats.write_json(answer, out)
    assert json.loads(out.getvalue()) == []


def test_csv_comes_back_as_it_was(kinds: Answer) -> None:
    out = io.StringIO()
    formats.write_csv(kinds, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["whole"], row["fraction"], row["decimal"], row["total"], row["yes"]) == (
        "1",
        "2.5",
        "1.25",
        "3",
        "true",
    )
    assert (row["nothing"], row["quoted"], row["lines"], row["wide"]) == ("", 'a, "b"', "two\nlines", "é日本")
    assert (json.loads(row["list"]), json.loads(row["struct"])) == ([1, None, 3], {"a": 1, "b": [2]})
    assert out.getvalue().splitlines()[1].startswith('1,2.5,1.25,3,,"",true')  # NULL and empty text differ


def test_markdown_has_one_line_a_row(kinds: Answer) -> None:
    out = io.StringIO()
    formats.write_markdown(kinds, out)
    head, marks, row = out.getvalue().splitlines()
    assert head.startswith("| whole | fraction |")
    assert marks.startswith("| ---: | ---: |")
    assert "two<br>lines" in row
    assert "x\\|y" in row
    assert "NULL" in row
    assert "[1, NULL, 3]" in row


def test_parquet_keeps_types(kinds: Answer) -> None:
    formats.write_parquet(kinds, Path("x.parquet"))
    table = pq.read_table("x.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["whole"], types["total"], types["fraction"]) == ("int32", "int64", "double")
    assert types["list"].startswith("list<")
    assert types["moment"] == "timestamp[us]"
    assert table.to_pylist()[0]["struct"] == {"a": 1, "b": [2]}


def test_a_table_shows_every_value_whole_in_a_pipe(kinds: Answer) -> None:
    out = io.StringIO()
    formats.write_table(kinds, out)
    lines = out.getvalue().splitlines()
    assert len({cell_len(line) for line in lines}) == 1  # nothing is folded
    for text in ("2.5", "NULL", "true", "[1, NULL, 3]", "{a: 1, b: [2]}", "2026-01-02 03:04:05", "é日本"):
        assert text in out.getvalue()


def test_long_text_is_cut_in_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 1000
    for terminal in (True, False):
        monkeypatch.setenv("FORCE_COLOR", "1") if terminal else monkeypatch.delenv("FORCE_COLOR")
        monkeypatch.setenv("COLUMNS", "80")
        out = io.StringIO()
        with ask(DB, "SELECT $1 AS text, 1234567.5::DOUBLE AS money", [long]) as answer:
            formats.write_table(answer, out)
        assert ("(5,000 characters)" in out.getvalue()) is terminal
        assert (long.strip() in out.getvalue()) is not terminal
        assert terminal == (max(map(cell_len, out.getvalue().splitlines())) < 200)


def test_more_columns_than_fit_become_blocks_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    many = ", ".join(f"{i}00000000 + range AS column_{i}" for i in range(1, 20))
    shown = []
    for _ in range(2):
        out = io.StringIO()
        with ask(DB, f"SELECT {many} FROM range(2)") as answer:
            formats.write_table(answer, out)
        shown.append(out.getvalue())
        monkeypatch.setenv("FORCE_COLOR", "1")
    pipe, terminal = shown
    assert pipe.splitlines()[1].count("column_") == 19
    assert ("row 2" in terminal, "row 2" in pipe) == (True, False)
    assert "1900000001" in terminal
    assert max(map(cell_len, terminal.splitlines())) < 120  # with the codes of its colors


def test_what_a_model_says_cannot_move_the_terminal() -> None:
    out = io.StringIO()
    with ask(DB, "SELECT 'a' || chr(27) || '[2Jb' || chr(7) || chr(13) || 'c' || chr(155) AS reply") as answer:
        formats.write_table(answer, out)
    assert "a\\x1b[2Jb\\x07\\rc\\x9b" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (3.0, "3"),
        (0.1234567, "0.123457"),
        (159100.0, "159100"),
        (1234567.89, "1234568"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (-1234567.89, "-1234568"),
        ([50.0, None], "[50, NULL]"),
        (False, "false"),
    ],
)
def test_figures_are_short_and_without_exponents_where_people_read_money(value: object, shown: str) -> None:
    assert plain(value) == shown


@pytest.mark.slow
def test_tables_stop_at_a_thousand_rows_and_data_does_not(cli: CommandLine) -> None:
    query = "SELECT * FROM range(1500)"
    for form in ("table", "markdown"):
        result = cli("sql", query, "--db", DB, "--format", form)
        assert "first 1,000 rows, and there are more" in result.err
        assert "1000" not in result.out
        assert "999" in result.out
    for form in ("csv", "json"):
        result = cli("sql", query, "--db", DB, "--format", form)
        assert (result.err, "1499" in result.out) == ("", True)
    result = cli("sql", query, "--db", DB, "--format", "csv", "--limit", "2")
    assert result.out == "range\n0\n1\n"
    assert "first 2 rows" in result.err
    assert cli("sql", query, "--db", DB, "--limit", "1500").err == ""


def test_a_limit_that_is_just_enough_has_no_notice(cli: CommandLine) -> None:
    assert cli("sql", "SELECT * FROM range(5)", "--db", DB, "--limit", "5").err == ""


def test_a_large_answer_is_streamed_and_cut_at_the_limit() -> None:
    with ask(DB, "SELECT range AS a FROM range(100000)", limit=50_000) as answer:
        assert sum(1 for _ in answer.rows()) == 50_000
        assert (answer.taken, answer.more) == (50_000, True)
        assert next(answer.rows()) == (0,)  # it can be read again
