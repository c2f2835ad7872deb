"""`llm-economist eval`: exact figures from the trace, stored once, for runs of any origin."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from support.command_line import CommandLine

from evals.evaluate.command import Evaluation, evaluate, keep
from evals.evaluate.tables import as_json, blocks
from pipeline.config import build
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import create
from pipeline.store.query import select
from pipeline.store.writer import Store
from signatures.types import TaxSchedule

DB = "traces.duckdb"
COLUMNS = {name: {"paper": "swf_paper"}.get(name, name) for name in WELFARE}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Run 1: rational. 2: the same people under the federal tax. 3: run 1, from year 4 on under ORACLE. 4: bounded,
    with altruists, on seven brackets."""
    from evals.run.command import run
    from evals.run.fork import fork

    folder = tmp_path_factory.mktemp("played")
    db, quiet = str(folder / DB), Console(file=io.StringIO())
    size = {"num_agents": 6, "max_timesteps": 10, "two_timescale": 4}
    common = {"db": db, "log_dir": str(folder), "llm": "rules", **size}
    assert run(common, quiet) == 0
    assert run({**common, "planner_type": "US_FED"}, quiet) == 0
    assert fork("1", db, 4, {"planner_type": "ORACLE", "log_dir": str(folder)}, quiet) == 0
    mixed = {"percent_ego": 80, "percent_alt": 20, "percent_adv": 0}
    assert run({**common, "scenario": "bounded", "name": "people", "bracket_setting": "US_FED", **mixed}, quiet) == 0
    return (folder / DB).read_bytes()


@pytest.fixture(autouse=True)
def here(nobody_pays: None, played: bytes) -> None:
    Path(DB).write_bytes(played)


def rows(query: str) -> list[dict[str, object]]:
    found = select(DB, query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def made(*runs: str, welfare: str | None = "all", years: str | None = None) -> Evaluation:
    return evaluate(runs, DB, welfare=welfare, years=years)


# -- exact -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("run", ["1", "3", "people"])
@pytest.mark.parametrize("year", [0, 5, 9])
def test_welfare_computed_from_the_trace_equals_the_stored_welfare(run: str, year: int) -> None:
    found = made(run, years=str(year))
    number = found.runs[0].run_id
    (stored,) = rows(f"SELECT * FROM years WHERE run_id = {number} AND year = {year}")
    policy = found.people[0].policies[0]
    assert policy.label == f"run {number}, year {year}"
    assert {name: stored[column] for name, column in COLUMNS.items()} == pytest.approx(dict(policy.welfare), rel=1e-12)
    assert policy.equality == pytest.approx(1 - float(str(stored["gini"])))
    assert policy.output == pytest.approx(stored["mean_income"])


@pytest.mark.slow
def test_by_default_the_last_tax_year_and_all_years_are_judged() -> None:
    labels = [policy.label for policy in made("1").people[0].policies if policy.run_id]
    assert labels == ["run 1, years 8-9", "run 1, years 0-9"]
    (mean,) = rows("SELECT avg(utilitarian) AS last FROM years WHERE run_id = 1 AND year >= 8")
    assert made("1").people[0].policies[0].welfare["utilitarian"] == pytest.approx(mean["last"])


@pytest.mark.slow
def test_runs_with_the_same_people_stand_side_by_side_and_others_apart() -> None:
    found = made("1", "2", "3", "people", "1")
    assert [[run.run_id for run in people.runs] for people in found.people] == [[1, 2, 3], [4]]
    called = [set(policy.names) for policy in found.people[0].policies]
    assert any({"last law of run 2", "US_FED"} <= names for names in called)
    assert any({"last law of run 3", "ORACLE of inverse_income"} <= names for names in called)


@pytest.mark.slow
def test_oracle_is_first_in_its_own_column_of_the_laws() -> None:
    for people in made("1", "2", "people").people:
        laws = [policy for policy in people.policies if policy.run_id is None]
        for name in people.places:
            (own,) = (policy for policy in laws if f"ORACLE of {name}" in policy.names)
            assert own.welfare[name] >= max(policy.welfare[name] for policy in laws) * (1 - 1e-9)


# -- yardsticks --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_yardsticks_follow_from_the_stored_decisions(cli: CommandLine) -> None:
    found = cli.sql("SELECT * FROM yardsticks ORDER BY run_id, year", DB)
    assert len(found) == 40
    worst = rows(
        "SELECT d.run_id, d.year, max(regret) AS gap FROM decisions d JOIN agents a USING (run_id, agent) "
        "WHERE utility_type = 'egotistical' GROUP BY ALL ORDER BY ALL"
    )
    assert [one["equilibrium_gap"] for one in found] == [one["gap"] for one in worst]
    assert all(one["welfare_oracle"] > one["welfare_start"] for one in found if one["run_id"] < 4)
    first, last = found[0], found[29]
    assert (first["rates"], first["planner_share"]) == ([50] * 3, 0)
    assert (last["run_id"], last["year"], last["planner_share"]) == (3, 9, 1)
    by_eval = [one["planner_share"] for run in made("1", "2", "3", "people").runs for one in run.yardsticks]
    assert by_eval == [one["planner_share"] for one in found]


@pytest.mark.slow
def test_years_of_older_versions_get_their_yardsticks_and_still_replay(cli: CommandLine) -> None:
    columns = "run_id, year, welfare_best_response, welfare_start, welfare_oracle_grid, welfare_oracle"
    before = rows(f"SELECT {columns} FROM years WHERE run_id IN (1, 3) ORDER BY ALL")
    with Store(DB) as store:
        nothing = ", ".join(f"{name} = NULL" for name in columns.split(", ")[2:])
        store.connection.execute(f"UPDATE years SET {nothing}")
        store.connection.execute("UPDATE decisions SET best_labor = NULL, best_utility = NULL, regret = NULL")
    assert cli("replay", "1", "--db", DB).code == 0
    for run in ("1", "3"):
        assert cli("eval", run, "--db", DB).code == 0
    assert rows(f"SELECT {columns} FROM years WHERE run_id IN (1, 3) ORDER BY ALL") == before
    assert cli("replay", "1", "--db", DB).code == 0


# -- the command -------------------------------------------------------------------------------------------------


def test_eval_prints_tables_warnings_yardsticks_and_the_certificate(cli: CommandLine) -> None:
    out = cli("eval", "1", "people", "--db", DB, "--welfare", "all").out
    for words in ("Welfare of the 6 people of run 1", "Welfare of the 6 people of run 4", "equality", "front"):
        assert words in out
    assert out.count("planner share") == out.count("equilibrium gap") == 2
    assert "best of 32 searches" in out
    assert "the optimum at any rates, refined from the best of all 1,331 schedules of the ten-point grid" in out
    assert out.count("no move of one or two rates by 20, 10, 5, 2 or 1 points improves it") == 2
    best = made("1").best[1]
    assert f"ORACLE_GRID {'/'.join(f'{rate:g}' for rate in best.certificate.grid.rates)}: " in out
    for run in (1, 4):
        assert f"Run {run}: laws under its objective, inverse_income: dollars per person per year" in out


@pytest.mark.slow
def test_eval_judges_the_last_law_and_the_baselines_by_share_of_gain_and_on_fresh_people(
    cli: CommandLine,
) -> None:
    (run,) = json.loads(cli("eval", "1", "--db", DB, "--json").out)["runs"]
    laws = {law["label"]: law for law in run["laws"]}
    assert list(laws) == ["last law", "start (50 %)", "FREE_MARKET", "US_FED", "SAEZ", "ORACLE_GRID", "ORACLE"]
    (last,) = rows("SELECT * FROM yardsticks WHERE run_id = 1 ORDER BY year DESC LIMIT 1")
    assert laws["last law"]["share"] == pytest.approx(last["planner_share"])
    assert laws["last law"]["value"] == pytest.approx(last["welfare_best_response"])
    for label, column in (("start (50 %)", "start"), ("ORACLE_GRID", "oracle_grid"), ("ORACLE", "oracle")):
        assert laws[label]["value"] == pytest.approx(last[f"welfare_{column}"])
    assert (laws["start (50 %)"]["share"], laws["ORACLE"]["share"]) == (0, 1)
    assert laws["ORACLE_GRID"]["law"] == run["oracle"]["grid"]
    others = fresh_people(create(build({"num_agents": 6})))
    assert others is not None
    for law in laws.values():
        if law["label"] != "US_FED":
            schedule = TaxSchedule(thresholds=others.setting.thresholds, rates=tuple(law["law"]))
            assert law["fresh"] == pytest.approx(others.worth(schedule))
    assert cli("eval", "1", "--db", DB).code == 0
    stored = {(one["subject"], one["metric"]): one["score"] for one in rows("SELECT * FROM evaluations")}
    assert stored["SAEZ", "share_of_gain"] == pytest.approx(laws["SAEZ"]["share"])
    assert stored["last law", "on_fresh_people"] == pytest.approx(laws["last law"]["fresh"])


def test_the_tables_of_laws_fit_eighty_columns(cli: CommandLine) -> None:
    out = cli("eval", "1", "people", "--db", DB).out.splitlines()
    first = next(i for i, line in enumerate(out) if "laws under its objective" in line)
    table = out[first : first + 12]
    assert any("ORACLE_GRID" in line for line in table)
    assert max(len(line.rstrip()) for line in table) <= 80


@pytest.mark.slow
def test_eval_stores_each_score_once(cli: CommandLine) -> None:
    for _ in range(2):
        assert cli("eval", "1", "2", "--db", DB, "--welfare", "all").code == 0
    assert cli("eval", "1", "--db", DB, "--welfare", "rawlsian").code == 0
    kept = rows("SELECT run_id, subject, metric, count(*) n, any_value(score) score FROM evaluations GROUP BY ALL")
    assert {one["n"] for one in kept} == {1}
    score = {(one["run_id"], one["subject"], one["metric"]): one["score"] for one in kept}
    policies = {policy.label: policy for policy in made("1", "2").people[0].policies}
    own = policies["run 1, years 8-9"]
    assert score[1, own.label, "atkinson"] == own.welfare["atkinson"]
    assert score[1, own.label, "equality"] == own.equality
    (saez,) = (policy for policy in policies.values() if "SAEZ" in policy.names)
    assert score[2, "SAEZ", "output"] == saez.output
    assert (2, own.label, "output") not in score
    assert score[1, "ORACLE of inverse_income", "best_move"] <= 0  # type: ignore[operator]
    (last,) = rows("SELECT planner_share FROM yardsticks WHERE run_id = 1 AND year = 9")
    assert score[1, "run 1, year 9", "planner_share"] == last["planner_share"]


def test_json_and_csv_have_every_policy_and_the_same_figures(cli: CommandLine) -> None:
    result = cli("eval", "1", "people", "--db", DB, "--welfare", "rawlsian,paper", "--json", "--csv", "out.csv")
    found = json.loads(result.out)
    assert found["welfare"] == ["paper", "rawlsian"]
    assert [len(run["years"]) for run in found["runs"]] == [10, 10]
    assert found["runs"][0]["oracle"]["improvement"] <= 0
    assert found == json.loads(json.dumps(as_json(made("1", "people", welfare="rawlsian,paper"))))
    with Path("out.csv").open() as file:
        table = list(csv.DictReader(file))
    flat = [
        (" = ".join(policy["names"]), name, value, policy["places"][name])
        for people in found["people"]
        for policy in people["policies"]
        for name, value in policy["welfare"].items()
    ]
    assert [(one["policy"], one["welfare"], float(one["value"]), int(one["place"])) for one in table] == flat


def test_by_default_eval_uses_each_runs_own_objective() -> None:
    assert made("1", welfare=None).names == ["inverse_income"]
    assert made("1", welfare="rawlsian,paper").names == ["paper", "rawlsian"]


@pytest.mark.first_cases(5)
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["9"], "no run '9'"),
        (["1", "--welfare", "joy"], "--welfare joy: expected all, or names from inverse_income, paper"),
        (["1", "--years", "7-3"], "--years 7-3: expected a year or a range of years"),
        (["1", "--years", "soon"], "--years soon"),
        (["1", "--years", "5-12"], "run 1 has years 0 to 9"),
        (["1", "--csv", "nowhere/out.csv"], "nowhere/out.csv cannot be written"),
    ],
)
def test_missing_runs_years_and_functions_are_reported_in_one_line(
    cli: CommandLine, args: list[str], says: str
) -> None:
    result = cli("eval", *args, "--db", DB)
    assert result.code == 2
    assert says in result.err
    assert result.err.count("\n") == 1


def test_a_run_without_a_year_cannot_be_judged(cli: CommandLine) -> None:
    with Store(DB) as store:
        store.connection.execute("DELETE FROM years WHERE run_id = 1")
        store.connection.execute("DELETE FROM decisions WHERE run_id = 1")
    assert "no complete year yet" in cli("eval", "1", "--db", DB).err


def test_scores_that_cannot_be_stored_are_reported_and_still_printed() -> None:
    found, said = made("1", welfare="all"), io.StringIO()
    hold = f"import duckdb, sys; c = duckdb.connect({DB!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        keep(found, DB, Console(file=said, width=200))
        other.communicate()
    assert "The scores were not stored" in said.getvalue()
    assert rows("SELECT count(*) AS n FROM evaluations") == [{"n": 0}]


def test_blocks_show_means_of_many_years_and_a_flat_line_of_equal_ones() -> None:
    assert blocks([3.0, 3.0, 3.0]) == "▁▁▁"
    assert blocks([0.0] * 40 + [1.0] * 40, longest=4) == "▁▁██"
    assert blocks([float("nan")] * 2) == "  "
