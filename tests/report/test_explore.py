"""The explorer without a browser: its pages on small databases, hostile texts, and bad input."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from support.command_line import CommandLine
from support.runs.explored_runs import BOUNDED, DEMOCRATIC, LONG, PEOPLE, TAX_YEAR, YEARS, play, poison
from support.runs.live_runs import started, until

from evals.explore import registry, utility_curve
from evals.explore.markup import changed, text
from evals.explore.source import Place, Source, opened
from evals.testing.openai_server import Loopback
from evals.testing.server_replies import MODEL
from pipeline.errors import StoreError
from pipeline.store import snapshots
from pipeline.store.query import ask


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(play(tmp_path_factory.mktemp("played")))


@pytest.fixture(scope="module")
def source(played: Path) -> Iterator[Source]:
    it = opened([], [str(played)])
    yield it
    it.close()


def shown(page: str, source: Source, asked: dict[str, Any] | None = None) -> str:
    """Everything that a page sends to the browser at first."""
    inputs = registry.controls(page, source, asked or {})
    picked = registry.picker(page, source, inputs, asked or {})
    parts = (registry.row(inputs), picked, registry.view(page, source, inputs, picked))
    return "\n".join(part.text for part in parts if part is not None)


@pytest.mark.slow
def test_the_curve_has_the_stored_utility_at_the_chosen_hours_and_its_maximum_at_the_best(
    played: Path, source: Source
) -> None:
    hours = np.linspace(0, 100, 2001)
    with source.reading(str(played)) as reader:
        rows = reader.rows("SELECT run_id, year, agent FROM decisions ORDER BY ALL")
        assert len(rows) == 2 * YEARS * PEOPLE
        for key in rows:
            row = utility_curve.decision(reader, key["run_id"], key["year"], key["agent"])
            assert row is not None
            curve = utility_curve.curve(reader, row)
            assert curve.utility(row["labor"]) == pytest.approx(row["utility"], abs=1e-6)
            assert curve.utility(row["best_labor"]) == pytest.approx(row["best_utility"], abs=1e-6)
            assert curve.utility(hours).max() <= row["best_utility"] + 1e-6
            for (at, _), edge in zip(curve.kinks, row["thresholds"], strict=False):
                assert row["wage"] * 52 * at == pytest.approx(edge)


def test_the_page_of_a_decision_has_its_prompt_reply_and_curve(source: Source) -> None:
    page = shown("Worker", source, {"run": BOUNDED, "worker": 2, "year": 5})
    assert "Year 5: worker 2 chose" in page
    assert page.count("<svg") == 4, "curve and hours, each for desktop and phone"
    for title in ("parsed", "reply", "system prompt", "user prompt", "persona"):
        assert f">{title}</div>" in page


def test_the_page_of_an_election_year_has_the_winner(source: Source) -> None:
    page = shown("Year", source, {"run": DEMOCRATIC, "year": TAX_YEAR})
    assert "Election" in page
    assert 'class="marked"' in page


def test_a_year_has_its_ballots(played: Path, source: Source) -> None:
    page = shown("Year", source, {"run": DEMOCRATIC, "year": TAX_YEAR})
    assert "Ballots" in page
    with source.reading(str(played)) as reader:
        votes = reader.rows("SELECT voter, candidate, ballot FROM votes WHERE year = ?", [TAX_YEAR])
    for vote in votes:
        cast = "abstains" if vote["candidate"] is None else ", ".join(f"worker {one}" for one in vote["ballot"])
        assert re.search(rf">worker {vote['voter']}</a></td><td class=\"\">{cast}</td>", page)


def test_years_play_up_to_the_last_one_and_start_again(played: Path, source: Source) -> None:
    """As app.py asks for it: the button, a tick, and the slider that the tick moves."""
    page, place = registry.PAGES["Year"], Place(str(played), BOUNDED)
    asked: dict[str, Any] = {"run": BOUNDED}

    def slider() -> int:
        return int(page.picker(source, values, asked).value)

    values = {"run": place, "play": False}
    assert page.clock(source, values, asked) is None
    assert slider() == YEARS - 1
    values["play"] = True
    assert page.clock(source, values, asked) is not None
    seen = [slider()]
    for _ in range(YEARS):
        page.advance(source, values, asked)
        seen.append(slider())
    assert seen == [*range(YEARS), YEARS - 1]


def test_playing_starts_at_the_year_to_which_the_slider_was_moved(played: Path, source: Source) -> None:
    page, asked = registry.PAGES["Year"], dict[str, Any]()
    values = {"run": Place(str(played), BOUNDED), "play": True}
    page.picker(source, values, asked)._on_change(2)
    page.clock(source, values, asked)
    page.advance(source, values, asked)
    assert page.picker(source, values, asked).value == 3


@pytest.mark.slow
def test_calls_are_filtered_by_the_version_of_their_prompt_and_two_versions_are_compared(
    played: Path, source: Source
) -> None:
    page = registry.PAGES["Calls"]
    versions = [one for one in page._versions(source).values() if one is not None]
    with source.reading(str(played)) as reader:
        stored = reader.rows("SELECT prompt_hash, system_prompt, calls FROM prompt_versions WHERE run_id = 2")
    assert {one.hash for one in versions} == {row["prompt_hash"] for row in stored}
    assert len(versions) > 2
    for row in stored:
        (version,) = (one for one in versions if one.hash == row["prompt_hash"])
        values = {"run": Place(str(played), DEMOCRATIC), "role": None, "status": None, "regret": 0, "version": version}
        assert len(page.picker(source, values, {}).data) == row["calls"]
        assert page._prompt(source, version) == row["system_prompt"]
    values["other"] = next(one for one in versions if one is not values["version"])
    made = page.view(source, values, None)
    before, after = (page._prompt(source, one) for one in (values["other"], values["version"]))
    lines = changed(before, after).splitlines()
    assert any(line.startswith("+") for line in lines)
    assert str(text("\n".join(lines))) in made


def test_an_answer_can_be_taken_away_as_csv_and_as_parquet(played: Path, source: Source, tmp_path: Path) -> None:
    sql = registry.PAGES["SQL"]
    asked = "SELECT run_id, year, agent, labor, satisfied FROM decisions ORDER BY ALL"
    with ask(str(played), asked) as answer:
        (tmp_path / "answer.parquet").write_bytes(sql._as_parquet(answer))
        rows = list(answer.rows())
    assert duckdb.sql(f"FROM '{tmp_path / 'answer.parquet'}'").fetchall() == rows
    page = sql.view(source, {"db": str(played), "question": sql.OWN}, asked).text
    assert page.count("<marimo-download") == 2
    for name in ("answer.csv", "answer.parquet"):
        assert name in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "name", "label"),
    [((), "in_flight", "calls in flight"), (("--processes", "2"), "under_way", "questions being answered")],
    ids=["one process", "two processes"],
)
def test_a_run_whose_first_year_is_not_complete_tells_how_many_questions_are_open(
    flags: tuple[str, ...], name: str, label: str, tmp_path: Path
) -> None:
    db = str(tmp_path / "live.duckdb")
    run = ("run", "--llm", MODEL, "--num-agents", "3", "--max-timesteps", "5", "--db", db, *flags)
    with Loopback(latency=4) as server, started(*run, "--base-url", server.url):

        def state() -> Any:
            with suppress(StoreError):
                return snapshots.status(db)

        now = until(lambda: (told := state()) and told.get(name) == 3 and told, 60)
        assert now["year"] == 0, "one question to each worker of the first year"
        source = opened([], [db])
        try:
            page = shown("Live", source)
        finally:
            source.close()
    assert "running" in page
    assert f"<dt>{label}</dt><dd>3</dd>" in page


def test_a_saved_query_is_answered_with_its_defaults(source: Source) -> None:
    page = shown("SQL", source, {"question": "hours_by_wage_decile"})
    assert "<table>" in page
    assert 'aria-label="The answer as a chart, point: hours_before, hours_after over decile"' in page
    assert "CSV" in page


@pytest.mark.parametrize("question", ["DELETE FROM runs", "FROM '/etc/passwd'", "SELECT 1; SELECT 2"])
def test_only_one_select_on_the_database_is_answered(question: str, played: Path, source: Source) -> None:
    values = {"db": str(played), "question": registry.PAGES["SQL"].OWN}
    page = registry._or_message(lambda: registry.PAGES["SQL"].view(source, values, question))
    assert "warning" in page.text
    assert "root:" not in page.text


def test_differences_of_a_run_from_itself_are_zero(played: Path, source: Source) -> None:
    place = Place(str(played), 1)
    means = registry.PAGES["Compare"]._means(source, place, YEARS, 1)
    page = registry.PAGES["Compare"]._against(place, place, {place: means}, YEARS, 1)
    assert page.count('<td class="number">0.0000 to 0.0000</td>') >= 4


def test_a_copied_reader_leaves_the_file_free_for_a_run(played: Path, source: Source) -> None:
    shown("Year", source)
    with duckdb.connect(str(played)) as writer:
        writer.execute("SELECT 1")


def test_stored_texts_are_only_shown(played: Path, tmp_path: Path) -> None:
    db = str(tmp_path / "hostile.duckdb")
    shutil.copy(played, db)
    poison(db)
    source = opened([], [db])
    try:
        pages = {page: shown(page, source) for page in registry.PAGES}
        pages["decision"] = shown("Worker", source, {"run": BOUNDED, "worker": 1, "year": 3})
        pages["question"] = shown("SQL", source, {"question": "worst_calls"})
    finally:
        source.close()
    for page, sent in pages.items():
        assert not re.search(r"<script|<img|<iframe|\x1b", sent), page
        assert len(sent) < 1_500_000, page
        assert 'class="ex"' in sent, page
    assert "&lt;script&gt;" in pages["decision"]
    assert f"{LONG - 12_000:,}"[:5] in pages["decision"], "the reply is cut, with the number of characters left out"


def test_a_long_text_is_cut_with_a_note() -> None:
    made = text("x" * 5_000_000 + "<b>")
    assert len(made) < 13_000
    assert "4,988,003 more characters" in made


def test_changes_of_a_prompt_name_what_came_and_went() -> None:
    assert changed("a\nb\nc", "a\nc\nd") == " a\n-b\n c\n+d"
    assert changed("a", "a") == "(the same text)"


def test_a_missing_database_an_unknown_run_and_a_bad_address_are_one_line(cli: CommandLine, played: Path) -> None:
    db = str(played)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        wrong = {
            ("--db", "missing.duckdb"): "missing.duckdb does not exist",
            ("99", "--db", db): "no run '99'",
            ("--db", db, "--port", port): f"--port {port}: address already in use",
            ("--db", db, "--host", "example.org"): "--host example.org: expected an IP address",
        }
        for args, message in wrong.items():
            result = cli.exactly("explore", *args, "--no-browser")
            assert result.code == 2, args
            assert message in result.err
            assert len(result.err.strip().splitlines()) == 1
