"""`experiment paper`: every published claim has a row, and each row is the figure that its runs give."""

import csv
import json
from pathlib import Path

import pytest
from support.command_line import CommandLine

from evals.compare.statistics import Interval
from evals.experiments import paper
from evals.experiments.paper import CLAIMS, Found, Row, Target, targets

SMALL = ("--llm", "rules", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--db", "p.duckdb")


def test_every_claim_has_a_row_and_no_value_is_invented() -> None:
    rows = {row for claim in CLAIMS.values() for row in claim.rows}
    assert set(targets()) == rows
    for target in targets().values():
        assert target.status == "read" or target.value == "unknown" or "as others summarize it" in target.source
    lengths = {f"tax_year_{years}" for years in (8, 16, 32, 64, 128)}
    memories = {f"history_{years}" for years in (8, 16, 32, 64, 128, 256)}
    assert rows > lengths | memories | {"near_optimum", "bounded_gain", "no_exploitation", "minority", "moved_down"}


def test_rows_are_differences_paired_by_seed() -> None:
    figures = {("a", 1): {"m": 3.0}, ("b", 1): {"m": 2.0}, ("a", 2): {"m": None}, ("b", 2): {"m": 1.0}}
    figures |= {("a", 3): {"m": 1.0}, ("b", 3): {"m": -4.0}}
    assert Row("a", "m").values(figures, [1, 2, 3]) == [3, 1]
    assert Row("a", "m", reference="b").values(figures, [1, 2, 3]) == [1, 5]
    assert Row("a", "m", reference="b", relative=True).values(figures, [1, 2, 3]) == [0.5, 1.25]
    assert Row("a", "m", reference="c").values(figures, [1]) == []


def test_a_known_value_gives_a_deviation() -> None:
    about = {"claim": "c", "source": "s", "status": "read", "why": "w"}
    found = Found("r", Target(value=0.9, **about), Row("a", "m"), Interval(0.7, 0.6, 0.8), 3)
    assert found.deviation == pytest.approx(-0.2)
    assert Found("r", Target(value="unknown", **about), Row("a", "m"), Interval(1, 1, 1), 3).deviation is None


@pytest.mark.slow
def test_the_table_is_made_of_stored_runs(cli: CommandLine) -> None:
    made = cli("experiment", "paper", *SMALL, "--seeds", "1-2", "--csv", "claims.csv", "--json")
    assert made.code == 0, made.err
    rows = {row["row"]: row for row in json.loads(made.out)["rows"]}
    assert set(rows) == set(targets())
    (share,) = cli.sql(
        "SELECT avg(planner_share) AS share FROM yardsticks JOIN runs USING (run_id) WHERE year = 3 AND scenario = "
        "'rational' AND config ->> 'bracket_setting' = 'US_FED' AND (config ->> 'exploitation')::BOOLEAN",
        "p.duckdb",
    )
    assert rows["near_optimum"]["ours"] == pytest.approx(share["share"])
    (moved,) = cli.sql(MOVED, "p.duckdb")
    assert rows["moved_down"]["ours"] == pytest.approx(moved["moved"])
    told = cli.sql(
        "SELECT DISTINCT prompt LIKE '%phase: exploit%' AS exploits FROM lm_calls JOIN runs USING (run_id) "
        "WHERE signature = 'ChooseLabor' AND NOT (config ->> 'exploitation')::BOOLEAN",
        "p.duckdb",
    )
    assert told == [{"exploits": False}]
    assert rows["model"]["seeds"] == 0
    assert rows["history_8"]["ours"] == rows["history_256"]["ours"]
    assert [row["row"] for row in csv.DictReader(Path("claims.csv").read_text().splitlines())] == list(rows)
    again = cli("experiment", "paper", *SMALL, "--seeds", "1-2")
    assert "32 runs: 32 cached, 0 resumed, 0 new." in again.out
    unknown = sum(target.value == "unknown" for target in targets().values())
    assert f"{unknown} of 17 published values are unknown" in again.out
    assert cli.sql("SELECT count(*) AS n FROM evaluations WHERE subject = 'claim'", "p.duckdb") == [{"n": 17}]


MOVED = """
WITH b AS (SELECT run_id, year, agent, list_sum([(income >= t)::INTEGER FOR t IN thresholds]) AS bracket
           FROM decisions JOIN years USING (run_id, year) JOIN runs USING (run_id)
           WHERE scenario = 'rational' AND config ->> 'bracket_setting' = 'US_FED'
             AND (config ->> 'exploitation')::BOOLEAN)
SELECT avg((x.last < f.bracket)::INTEGER) AS moved
FROM (SELECT run_id, agent, avg(bracket) AS last FROM b WHERE year >= 2 GROUP BY ALL) x
JOIN b f ON f.run_id = x.run_id AND f.agent = x.agent AND f.year = 0
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[near_optimum]\nclaim = 3", "cannot be used"),
        ("", "differ in: bounded_gain"),
        ("nonsense", "cannot be used"),
    ],
)
def test_a_broken_file_of_claims_is_named(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / paper.TARGETS).write_text(text)
    monkeypatch.setattr(paper, "files", lambda package: tmp_path)
    with pytest.raises(paper.UsageError, match=told):
        targets()


def test_a_figure_is_refused_in_one_line(cli: CommandLine) -> None:
    refused = cli("experiment", "paper", *SMALL, "--figure", "x.svg")
    assert refused.code == 2
    assert "--figure does not fit `experiment paper`" in refused.err
