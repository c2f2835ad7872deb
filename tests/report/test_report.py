"""The report shows what is stored, escapes text of models, and gives the same bytes for the same runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.runs import three_runs as three
from support.runs.live_runs import running, until, year_of
from support.runs.three_runs import BOUNDED, DB, DEMOCRATIC, RATIONAL, Stored

from evals.output.number_format import number, percent
from evals.policies.loaded_run import load
from evals.report import key_figures, tables
from evals.report.calls import LONGEST
from pipeline.economy.baselines import objective, oracle_grid
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.fresh_people import fresh_people
from pipeline.store.reader import ReadOnlyStore

HOSTILE = (
    "</pre></details><script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>]]>&lt;b&gt; {{ 7*7 }}"
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with three.stored(tmp_path_factory.mktemp("stored")) as it:
        yield it


@pytest.fixture(autouse=True)
def here(nobody_pays: None, stored: Stored) -> None:
    Path(DB).write_bytes(stored.content)


def report(cli: CommandLine, *runs: str) -> str:
    result = cli("report", *runs, "-o", "report.html", "--db", DB)
    assert result.code == 0, result.err
    assert result.err == ""
    return Path("report.html").read_text(encoding="utf-8")


def changed(statement: str) -> None:
    with duckdb.connect(DB) as store:
        store.execute(statement, [HOSTILE] if "$1" in statement else None)


class Parsed(HTMLParser):
    """A page as a browser takes it apart: tags with their attributes, and text outside of charts, styles, scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "input", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if {"svg", "style", "script"}.isdisjoint(self.open):
            self.text += data

    def headings(self) -> set[str]:
        return {str(attrs["id"]) for tag, attrs in self.tags if tag == "section"}


def test_a_report_has_every_section_and_says_what_is_stored(cli: CommandLine, stored: Stored) -> None:
    text = report(cli, DEMOCRATIC)
    parsed = Parsed(text)
    assert parsed.open == []
    sections = {"what", "policy", "years", "gains", "costs", "people", "regret", "satisfaction", "elections", "cost"}
    assert parsed.headings() == sections | {"prompts", "worst"}
    assert text == report(cli, DEMOCRATIC), "the same bytes again"
    assert len(text) < 1_000_000
    run = stored.runs[DEMOCRATIC]
    (worst,) = stored.reader.rows(
        "SELECT regret, agent, year, prompt FROM decisions JOIN lm_calls USING (run_id, year, agent, call_id) "
        "WHERE run_id = 2 ORDER BY regret DESC LIMIT 1"
    )
    assert f"${worst['regret']:,.0f}: worker {worst['agent']}, year {worst['year']}: " in parsed.text
    assert worst["prompt"] in parsed.text
    for signature in ("ChooseLabor", "JudgeTaxPolicy", "StandForOffice", "CastVote", "GovernAsLeader"):
        assert f"{signature} (" in parsed.text
    assert f"{number(run.reached)}, against {number(run.start.welfare)} at the start" in parsed.text
    assert all(persona in parsed.text for persona in run.world.personas if persona)
    only_its_own_style_and_script(text)


def only_its_own_style_and_script(text: str) -> None:
    """The page's policy allows its style, one script and nothing else, and it asks for nothing."""
    (policy,) = [attrs["content"] for tag, attrs in Parsed(text).tags if "http-equiv" in attrs]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy == (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert script == files("evals").joinpath("report", "years.js").read_text(encoding="utf-8").strip()
    for writes_markup in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function("):
        assert writes_markup not in script
    scripts = [attrs for tag, attrs in Parsed(text).tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "years-data"}, {}], "data, and the one script"
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "url(" not in text
    assert "@import" not in text


def digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def embedded(text: str) -> list[dict[str, Any]]:
    """The years in the page, by run."""
    (data,) = re.findall(r'<script type="application/json" id="years-data">(.*?)</script>', text, re.DOTALL)
    made: list[dict[str, Any]] = json.loads(data)
    return made


@pytest.mark.slow
def test_a_run_without_verdicts_elections_or_calls_has_no_empty_sections(cli: CommandLine) -> None:
    nobody_asked = ("--worker-type", "FIXED", "--planner-type", "SAEZ")
    assert cli("run", "--num-agents", "3", "--max-timesteps", "3", *nobody_asked, "--db", DB).code == 0
    parsed = Parsed(report(cli, "4"))
    assert parsed.headings() == {"what", "policy", "years", "gains", "costs", "people", "regret", "worst"}
    assert "No model was asked." in parsed.text
    for name in ("satisfaction", "elections", "cost"):
        assert f'href="#{name}"' not in Path("report.html").read_text()


@pytest.mark.slow
def test_text_of_models_and_users_is_escaped_in_reports_of_several_runs(cli: CommandLine) -> None:
    for statement in (
        "UPDATE agents SET persona = $1, occupation = $1",
        "UPDATE lm_calls SET prompt = 'system\n' || $1, response = $1, model = $1, strategy = $1, program = $1",
        "UPDATE lm_calls SET response = 'a' || chr(27) || '[31m' || repeat('long ', 20_000) || $1 WHERE year = 0",
        "UPDATE runs SET name = $1, llm = $1, status = 'failed', error = $1, code_version = $1",
        "UPDATE decisions SET fallback = true WHERE agent = 0",
    ):
        changed(statement)
    text = report(cli, DEMOCRATIC, BOUNDED, DEMOCRATIC)
    parsed = Parsed(text)
    assert parsed.open == []
    only_its_own_style_and_script(text)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"img", "iframe", "object", "embed", "link", "base"})
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert parsed.text.count(HOSTILE) > 40, "and it is all there, as it was written"
    for run in embedded(text):
        assert {row[1] for row in run["lead"]["people"]} == {HOSTILE[:80]}
    assert "a\\x1b[31mlong long" in text
    assert f"({100_006 + len(HOSTILE) - LONGEST:,} more characters)" in text
    assert "2 runs side by side" in parsed.text
    heads = [attrs for tag, attrs in parsed.tags if tag == "th"]
    assert all(head.get("scope") in ("col", "row") for head in heads)
    assert "16.7 % of the decisions on hours fell back" in parsed.text
    assert '<td class="marked">16.7 %' in text


def test_fallbacks_above_a_twentieth_are_a_warning(stored: Stored) -> None:
    changed("UPDATE decisions SET fallback = true WHERE run_id = 3 AND agent = 0")
    with three.ReadOnlyStore(DB) as reader:
        (run,) = three.load(reader, [RATIONAL])
        measured = key_figures.measure(reader, run)
    assert "16.7 % of the decisions on hours fell back" in key_figures.warnings(measured)[0]
    assert [fact.name for fact in key_figures.facts(measured) if fact.alarm] == ["Fallbacks"]
    unharmed = key_figures.measure(stored.reader, stored.runs[RATIONAL])
    assert [line.split(":")[0] for line in key_figures.warnings(unharmed)] == ["Last year as played"] * 2
    assert not any(fact.alarm for fact in key_figures.facts(unharmed))


def test_a_planner_that_fails_is_a_warning_too() -> None:
    changed("UPDATE years SET planner_fallback = true WHERE run_id = 3 AND year = 0")
    with three.ReadOnlyStore(DB) as reader:
        (run,) = three.load(reader, [RATIONAL])
        measured = key_figures.measure(reader, run)
    assert "33.3 % of the decisions on the tax rates fell back" in " ".join(key_figures.warnings(measured))


def test_an_objective_dominated_by_idle_workers_is_a_warning() -> None:
    changed('UPDATE runs SET config = json_merge_patch(config, \'{"welfare": "paper"}\') WHERE run_id = 3')
    changed("UPDATE decisions SET income = 0 WHERE run_id = 3 AND agent = 0")
    with three.ReadOnlyStore(DB) as reader:
        (run,) = three.load(reader, [RATIONAL])
        said = " ".join(key_figures.warnings(key_figures.measure(reader, run)))
    assert "Last year as played: paper divides by income: workers with fewer than 10 hours (1 of 6) carry 100%" in said


def test_the_table_of_policies_is_that_of_the_welfare_functions(stored: Stored) -> None:
    run = stored.runs[RATIONAL]
    table = tables.policies(stored.reader, [run])
    rows = {row[0]: row for row in table.rows}
    assert rows["ORACLE"][2] == number(run.oracle.welfare)
    (played,) = stored.reader.rows(
        "SELECT *, swf_paper AS paper FROM years WHERE run_id = 3 ORDER BY year DESC LIMIT 1"
    )
    assert rows["last year as played"][2:] == [*(number(played[name]) for name in WELFARE), "", ""]
    fresh, others = table.head.index("on 2,000 fresh people"), fresh_people(run.world)
    assert others is not None
    assert table.head[fresh - 1] == "share of ORACLE's gain"
    assert (rows["ORACLE"][fresh - 1], rows[run.start.name][fresh - 1]) == ("100.0 %", "0.0 %")
    assert rows["last schedule"][fresh - 1] == percent(run.share, 1)
    for one in (run.oracle, run.start):
        assert rows[one.name][fresh] == number(others.worth(one.schedule))
    assert rows["ORACLE_GRID"][2] == number(objective(run.world.setting(), oracle_grid(run.world.setting())))
    starred = table.head.index("inverse_income *")
    assert {table.rows[i][0] for i, j in table.marked if j == starred} == {"ORACLE"}


@pytest.mark.slow
def test_a_live_run_is_reported_from_a_copy(cli: CommandLine) -> None:
    with running(years=100_000, seed=1) as process:
        until(lambda: year_of("economist.duckdb") >= 3, seconds=120)
        result = cli("figure", "regret", "1", "-o", "live.svg")
        assert result.code == 0, result.err
        with three.ReadOnlyStore("economist.duckdb") as reader:
            (run,) = three.load(reader, ["1"])
            assert (
                "The run is still running, or was killed: " in key_figures.warnings(key_figures.measure(reader, run))[0]
            )
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert run.years >= 3


def test_a_run_without_a_year_has_no_report(cli: CommandLine) -> None:
    changed("DELETE FROM years WHERE run_id = 3")
    result = cli("report", RATIONAL, "--db", DB)
    assert (result.code, Path("report.html").exists()) == (2, False)
    assert "run 3 in traces.duckdb has no complete year yet" in result.err


def test_more_runs_than_a_figure_can_show_are_refused(cli: CommandLine) -> None:
    changed(
        "INSERT INTO runs BY NAME SELECT * REPLACE (run_id + 3 * k AS run_id) FROM runs r, range(1, 3) t(k)".replace(
            "SELECT *", "SELECT r.*"
        )
    )
    result = cli("report", *"123456789"[:7], "--db", DB)
    assert result.code == 2
    assert "7 runs: a figure shows at most 6" in result.err


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("library", ["altair", "jinja2", "vl_convert"])
def test_without_the_extra_a_line_says_how_to_get_it(library: str) -> None:
    program = f"import sys; sys.modules['{library}'] = None; from evals.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "report", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: reports and figures need the extra (no {library}): uv sync --extra report\n"


@pytest.mark.slow
def test_the_report_has_a_row_for_every_change_of_the_law_as_elections_has(cli: CommandLine) -> None:
    """Year 0 has no candidate, so that the planner governs; a shock moves the law twice."""
    told = ("--llm", "rules", "--scenario", "democratic", "--platforms", "--num-agents", "5", "--seed", "5")
    years = ("--max-timesteps", "12", "--two-timescale", "3", "--shock", "year=7-8: rates+20")
    assert cli("run", *told, *years, "--name", "told", "--db", DB).code == 0
    made = json.loads(cli("elections", "told", "--db", DB, "--json").out)["changes"]
    assert {"planner", "shock", "elected"} <= {row["made_by"] for row in made}
    with ReadOnlyStore(DB) as reader:
        (run,) = load(reader, ["told"])
        held, laws = tables.elections(reader, run), tables.laws(reader, run)
    assert held is not None
    assert laws is not None
    rows = [row for row in laws.rows if row[0].isdigit()]
    assert [(int(row[0]), row[2]) for row in rows] == [
        (one["year"], "/".join(f"{rate:g}" for rate in one["rates"])) for one in made
    ]
    assert [one["made_by"] in ("shock", "planner") for one in made] == [row[1] in ("shock", "planner") for row in rows]
    assert [int(row[0]) for row in held.rows] == [one["year"] for one in made if one["standing"]][::-1]
    shown = cli("elections", "told", "--db", DB).out
    for row in laws.rows:
        assert any(all(cell in line for cell in row if cell) for line in shown.splitlines()), row
    assert "every change of the law" in Parsed(report(cli, "told")).text
