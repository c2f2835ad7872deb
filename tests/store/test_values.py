"""Every type that DuckDB has, with its extreme values, in every format of `sql` and in Python."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.output import formats
from evals.output.spreadsheet import safe
from evals.sql import saved_queries
from pipeline.errors import UsageError
from pipeline.store.query import Answer, ask, select

DB = "values.duckdb"
EVERY = "SELECT * FROM test_all_types()"


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    duckdb.connect(DB).close()


@pytest.fixture
def every() -> Iterator[Answer]:
    with ask(DB, EVERY) as answer:
        yield answer


def by_sql() -> dict[str, list[str | None]]:
    """Each column of test_all_types() as text, cast by DuckDB itself."""
    with duckdb.connect() as connection:
        cast = connection.execute("SELECT columns(*)::VARCHAR FROM test_all_types()")
        names = [one[0] for one in cast.description]
        return dict(zip(names, zip(*cast.fetchall(), strict=True), strict=True))


def text(answer: Answer, form: str) -> str:
    out = io.StringIO()
    formats.FORMATS[form](answer, out)
    return out.getvalue()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("form", formats.FORMATS)
def test_every_type_is_written_in_every_format_with_its_extremes(every: Answer, form: str) -> None:
    written = text(every, form)
    for extreme in ("290309-12-22 (BC) 00:00:00", "24:00:00", "340282366920938463463374607431768211455", "infinity"):
        assert extreme in written, extreme
    assert "out of range" not in written


def test_text_stands_for_a_value_that_python_lacks_as_sql_says_it(every: Answer) -> None:
    rows = json.loads(text(every, "json"), parse_constant=pytest.fail)
    expected = by_sql()
    for name in ("date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "time_tz", "time_ns"):
        assert [row[name] for row in rows] == list(expected[name]), name
    for name in ("date_array", "timestamp_array", "uhugeint", "uuid", "interval", "bit", "blob", "map", "union"):
        assert [row[name] for row in rows] == list(expected[name]), name
    for name in ("hugeint", "bigint", "ubigint"):
        assert [row[name] for row in rows[:2]] == [int(value or "") for value in expected[name][:2]], name


def test_numbers_in_csv_have_all_their_digits(every: Answer) -> None:
    rows = list(csv.DictReader(io.StringIO(text(every, "csv"))))
    expected = by_sql()
    for name in ("hugeint", "uhugeint", "bigint", "ubigint", "dec_4_1", "dec_9_4", "dec_18_6", "dec38_10"):
        assert [row[name] for row in rows[:2]] == list(expected[name][:2]), name


def test_parquet_holds_every_type(every: Answer) -> None:
    formats.write_parquet(every, Path("every.parquet"))
    with duckdb.connect() as connection:
        found = connection.execute("SELECT timestamp, hugeint, dec38_10, empty_struct FROM 'every.parquet'").fetchall()
    expected = by_sql()
    for column, name in enumerate(("timestamp", "hugeint")):
        assert [row[column] for row in found] == list(expected[name])
    assert [str(row[2]) for row in found[:2]] == list(expected["dec38_10"][:2])


def test_python_gets_every_type() -> None:
    result = select(DB, EVERY)
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
    assert rows[1]["hugeint"] == 2**127 - 1
    assert rows[0]["date"] == "5877642-06-25 (BC)"


def test_usual_dates_and_times_keep_their_type() -> None:
    with ask(DB, "SELECT date '2020-01-01' AS d, timestamptz '9999-12-31 23:59:59+00' AS t, time '23:59:59' AS c") as a:
        assert [str(field.type) for field in a.schema] == ["date32[day]", "timestamp[us, tz=UTC]", "time64[us]"]


def test_a_value_that_comes_late_makes_the_whole_column_text() -> None:
    query = "SELECT i, CASE WHEN i = 4999 THEN 'infinity'::DATE ELSE date '2020-01-01' END AS d FROM range(5000) t(i)"
    rows = select(DB, query).rows
    assert (rows[0], rows[-1], len(rows)) == ((0, "2020-01-01"), (4999, "infinity"), 5000)


NESTED = {
    "lists": "[" * 200 + "1" + "]" * 200,
    "structures": "{'a': " * 80 + "1" + "}" * 80,
    "a map with keys that are lists": "map([[1]], [map([{'a': 1}], [[2]])])",
    "an empty structure in a list": "[{}]",
    "times in a structure in a list": "[{'a': ['infinity'::TIMESTAMP, NULL], 'b': time '24:00:00'}]",
    "not a number in a structure": "{'a': 'nan'::DOUBLE, 'b': ['-inf'::FLOAT]}",
    "a variant": "[1::VARIANT]",
    "large integers in a list": "[170141183460469231731687303715884105727::HUGEINT]",
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("value", NESTED.values(), ids=NESTED)
def test_nested_values_are_written_in_every_format(value: str) -> None:
    with ask(DB, f"SELECT {value} AS x") as answer:
        for form in formats.FORMATS:
            assert text(answer, form)
        json.loads(text(answer, "json"), parse_constant=pytest.fail)
        formats.write_parquet(answer, Path("x.parquet"))


@pytest.mark.parametrize(("query", "given"), [("SELECT '\udcff'", {}), ("SELECT $a", {"a": "\udcff"})])
def test_text_that_is_not_unicode_is_refused_in_one_line(query: str, given: dict[str, str]) -> None:
    with pytest.raises(
        UsageError, match=r"^[^\n]+ a character that is not valid Unicode \('\\udcff'\); expected UTF-8$"
    ):
        select(DB, query, given)


FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "-")  # noqa: RUF001


def test_no_text_in_csv_is_a_formula_unless_it_is_asked_for() -> None:
    with ask(DB, 'SELECT unnest($a) AS "=1+1", -5 AS n, -0.5 AS d', {"a": [*FORMULAS, "-3.5", "plain", ""]}) as answer:
        safely, raw = io.StringIO(newline=""), io.StringIO(newline="")
        formats.write_csv(answer, safely)
        formats.write_csv(answer, raw, raw=True)
    head, *rows = csv.reader(io.StringIO(safely.getvalue(), newline=""))
    assert head[0] == "'=1+1"
    assert [row[0] for row in rows] == [f"'{formula}" for formula in FORMULAS] + ["-3.5", "plain", ""]
    assert {(row[1], row[2]) for row in rows} == {("-5", "-0.5")}
    head, *rows = csv.reader(io.StringIO(raw.getvalue(), newline=""))
    assert [head[0], *(row[0] for row in rows)] == ["=1+1", *FORMULAS, "-3.5", "plain", ""]


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n '1.e9inf"), max_size=6))
def test_safe_text_is_the_text_and_begins_like_no_formula(value: str) -> None:
    made = safe(value)
    assert made.removeprefix("'") == value.removeprefix("'")
    if made[:1] in tuple("=+-@\t\r\n"):
        float(made)


def test_the_flag_of_raw_csv_is_for_csv(cli) -> None:  # type: ignore[no-untyped-def]
    query = ("sql", "select '=1+1' as x", "--db", DB, "--format")
    assert cli(*query, "csv").out.splitlines() == ["x", '"\'=1+1"']
    assert cli(*query, "csv", "--raw-csv").out.splitlines() == ["x", '"=1+1"']
    wrong = cli(*query, "json", "--raw-csv")
    assert (wrong.code, wrong.err) == (2, "error: --raw-csv is for --format csv; the format is json\n")


PARAMETERS = saved_queries.parse(
    "typed", "".join(f"-- param: {kind.lower()} {kind} = NULL\n" for kind in saved_queries.TYPES) + "SELECT 1"
)


@settings(max_examples=200)
@given(st.sampled_from([kind.lower() for kind in saved_queries.TYPES]), st.text())
def test_any_value_of_a_parameter_is_bound_or_refused_in_one_line(name: str, value: str) -> None:
    try:
        values, lookups = PARAMETERS.bind([f"{name}={value}"])
    except UsageError as error:
        assert str(error).startswith(f"--param {name}={value}: expected {name.upper()}")  # noqa: PT017
    else:
        assert name in {**values, **lookups}


@pytest.mark.slow
@settings(max_examples=200)
@given(st.text() | st.sampled_from(["9" * 5000, "1e999", "'; DROP TABLE runs; --", "nan", "-0"]))
def test_values_are_values_and_never_part_of_the_query(value: str) -> None:
    guessed = saved_queries.guess(value)
    asked = saved_queries.parse("", "SELECT $x AS x").bind([f"x={value}"])[0]["x"]
    assert repr(asked) == repr(guessed)
    with duckdb.connect() as connection:
        if isinstance(guessed, str):
            assert connection.execute("SELECT $x", {"x": guessed}).fetchall() == [(value,)]


@given(st.text(alphabet=st.sampled_from("param: a INTEGER = ()x \n-"), max_size=60))
def test_any_comment_is_read_or_refused_in_one_line(comment: str) -> None:
    text = f"-- param: {comment}\nSELECT 1"
    try:
        question = saved_queries.parse("", text)
    except UsageError as error:
        assert "expected -- param: NAME" in str(error)  # noqa: PT017
    else:
        assert question.sql == text


@pytest.mark.parametrize("shape", ["x (", "(", ") (", " ((a) "])
def test_a_long_comment_is_read_in_time_that_grows_with_its_length(shape: str) -> None:
    line = f"-- param: a INTEGER = {shape * 300_000}\nSELECT 1"
    (parameter,) = saved_queries.parse("", line).parameters
    assert parameter.name == "a"


def test_the_help_of_a_parameter_is_what_stands_in_parentheses_at_the_end() -> None:
    heads = ["3", "3 (hours)", "f (a) (b)", "()", "x ()", "x (a", "x (a) b"]
    read = [saved_queries.parse("", f"-- param: a VARCHAR = {head}\nSELECT 1").parameters[0] for head in heads]
    assert [(one.default, one.help) for one in read] == [
        ("3", ""),
        ("3", "hours"),
        ("f", "a) (b"),
        ("()", ""),
        ("x ()", ""),
        ("x (a", ""),
        ("x (a) b", ""),
    ]
