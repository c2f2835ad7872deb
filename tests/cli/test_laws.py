"""Brackets, laws and public spending from the command line: what runs, what is stored, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from support.command_line import CommandLine

from pipeline.config import RunConfig, build
from pipeline.economy.laws.named_laws import named_law
from pipeline.laws import as_text
from pipeline.store.run_lookup import config_of
from signatures.types import TaxSchedule

DB = "--db=laws.duckdb"
SMALL = ("--llm=rules", "--num-agents=4", "--max-timesteps=4", "--two-timescale=2", "--seed=1", DB)

FLAT = TaxSchedule(thresholds=(0, 10_000), rates=(0, 25))
FILE = "thresholds = [0, 50000]\nrates = [15, 35]\ndeduction = 12000\nsource = 'a proposal'\n"


def years() -> list[tuple[list[float], list[float], float, float]]:
    with duckdb.connect("laws.duckdb", read_only=True) as db:
        query = "SELECT thresholds, rates, rebate, revenue FROM years ORDER BY run_id DESC, year LIMIT 4"
        return db.execute(query).fetchall()


def test_a_law_by_name_never_changes(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--law=us-2026-single-eitc-1").code == 0
    law, _ = named_law("us-2026-single-eitc-1")
    assert [(tuple(edges), tuple(rates)) for edges, rates, *_ in years()] == [(law.thresholds, law.rates)] * 4


def test_a_planner_with_a_model_starts_from_the_law_and_moves_it(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--law=0=-30,20000=20", "--planner-type=LLM", "--warmup=2").code == 0
    found = years()
    assert [tuple(edges) for edges, *_ in found] == [(0, 20_000)] * 4
    assert tuple(found[0][1]) == (-30, 20)
    assert all(-70 <= rates[0] <= 10 and -20 <= rates[1] <= 60 for _, rates, *_ in found)


def test_a_planner_may_lower_the_rates_of_a_law_that_pays_for_work_and_is_told_so(cli: CommandLine) -> None:
    flags = ("--num-agents=3", "--max-timesteps=60", "--two-timescale=2", "--llm=rules", "--seed=3", DB)
    assert cli("run", *flags, "--law=0=-5,20000=20", "--planner-type=LLM").code == 0
    with duckdb.connect("laws.duckdb", read_only=True) as db:
        rates = np.array([rates for (rates,) in db.execute("SELECT rates FROM years").fetchall()])
        told = db.execute("SELECT prompt FROM calls WHERE signature = 'SetTaxRates'").fetchall()
    assert -100 <= rates.min() < -5, "the planner went below the first law"
    assert all("each stays within -100 to 100" in prompt and "0-100" not in prompt for (prompt,) in told)


@pytest.mark.parametrize("adapter", ["compact", "chat"])
def test_with_spending_no_prompt_says_that_all_revenue_returns(cli: CommandLine, adapter: str) -> None:
    people = ("--scenario=democratic", "--platforms", "--layout=planner=steady", f"--adapter={adapter}")
    for spending in ("--spending=500", "--spending=0"):
        assert cli("run", *SMALL, *people, spending).code == 0
    query = """SELECT run_id, signature, count(*), count(*) FILTER (prompt LIKE '%all revenue%'),
        count(*) FILTER (prompt LIKE '%the revenue%pays for public spending first%')
        FROM calls WHERE signature IN ('ChooseLabor', 'GovernAsLeader') GROUP BY ALL"""
    with duckdb.connect("laws.duckdb", read_only=True) as db:
        for run_id, _, asked, all_returns, spent in db.execute(query).fetchall():
            assert (all_returns, spent) == ((0, asked) if run_id == 1 else (asked, 0))


def test_a_planner_moves_the_brackets_that_it_is_given(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--brackets=0,14600,60000", "--warmup=2").code == 0
    assert years()[0][:2] == ([0, 14_600, 60_000], [50, 50, 50])


def test_the_rebate_is_the_mean_tax_less_spending(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--spending=1500", "--rates=10/10/10").code == 0
    for *_, rebate, revenue in years():
        assert rebate == pytest.approx(revenue / 4 - 1_500)
    told = cli("sql", "select prompt from calls where year = 1 and role = 'worker' limit 1", "--format=json", DB).out
    assert "rebate = taxes of all workers / 4 - $1,500" in told
    assert "the mean tax less $1,500 a person for public spending" in told


def test_a_stored_law_names_neither_a_file_nor_code(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.toml").write_text(FILE)
    Path("my_laws.py").write_text(
        "from signatures.types import TaxSchedule\n\n\n"
        "def flat():\n    return TaxSchedule(thresholds=(0, 10_000), rates=(0, 25))\n"
    )
    for law, stored in (("own.toml", "0=0,12000=15,62000=35"), ("my_laws:flat", as_text(FLAT))):
        assert cli("run", *SMALL, f"--law={law}").code == 0
        with duckdb.connect("laws.duckdb", read_only=True) as db:
            (config,) = db.execute("SELECT config FROM runs ORDER BY run_id DESC LIMIT 1").fetchone() or ("{}",)
        assert json.loads(config)["law"] == stored
    hostile = {"run_id": 1, "config": json.dumps({"law": "my_laws:flat"})}
    with pytest.raises(Exception, match="stored settings may only have a name"):
        config_of(hostile)


@pytest.mark.slow
def test_a_fork_can_change_the_law(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--law=us-2024-single").code == 0
    Path("own.toml").write_text(FILE)
    assert cli("fork", "1", "--at=2", "--law=own.toml", DB).code == 0
    assert [tuple(rates) for _, rates, *_ in years()][2:] == [(0, 15, 35)] * 2
    refused = cli("fork", "1", "--at=2", "--spending=3", DB)
    assert refused.code == 2
    assert "--spending cannot change in a fork" in refused.err


BAD = {
    "--law=0=10,5=20,5=30": "must ascend",
    "--law=0=10,9000=20,5000=30": "must ascend",
    "--law=5=10": "starts at 0",
    "--law=0=101": "rates 101.0",
    "--law=0=-101": "rates -101.0",
    "--law=0=nan": "rates nan",
    "--law=0=10,inf=20": "less than 1e+12 dollars",
    "--law=0=ten": "expected edges in dollars and rates in percent",
    "--law=us-2026-singel": "did you mean 'us-2026-single'?",
    "--law=missing.toml": "missing.toml cannot be read",
    "--law=unknown.toml": "unknown key 'treshholds'",
    "--law=bare.toml": "has no list 'rates'",
    "--law=overlapping.toml": "must ascend",
    "--law=high.toml": "rates 150",
    "--law=broken.toml": "is not TOML",
    "--law=never:there": "cannot be loaded",
    "--brackets=0,5,5": "expected ascending dollars from 0",
    "--brackets=10,20": "expected ascending dollars from 0",
    "--brackets=0,x": "expected ascending dollars from 0",
    "--spending=900000": "these workers cannot pay it",
    "--spending=-1": "greater than or equal to 0",
    "--rates=101/0/0": "each from -100 to 100",
}


@pytest.mark.parametrize(("flag", "said"), BAD.items(), ids=BAD)
def test_a_bad_law_is_one_line_with_exit_code_2(cli: CommandLine, flag: str, said: str) -> None:
    Path("unknown.toml").write_text("treshholds = [0]\nrates = [10]\n")
    Path("bare.toml").write_text("thresholds = [0]\n")
    Path("overlapping.toml").write_text("thresholds = [0, 50, 20]\nrates = [1, 2, 3]\n")
    Path("high.toml").write_text("thresholds = [0]\nrates = [150]\n")
    Path("broken.toml").write_text("thresholds = [0\n")
    result = cli("run", *SMALL, flag)
    assert result.code == 2
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert flag.partition("=")[0] in errors[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"law": "us-2024-single", "rates": "10"}, "give one of the two"),
        ({"law": "us-2024-single", "brackets": "0,10"}, "give one of the two"),
        ({"brackets": "0,10", "bracket_setting": "flat"}, "give one of the two"),
        ({"brackets": "0,10", "rates": "10/20/30"}, "--brackets needs 2"),
        ({"brackets": "0,10", "elasticity": "1,2,3"}, "--brackets needs 1 or 2"),
        ({"law": "us-2024-single", "scenario": "democratic"}, "use --planner-type LLM"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        build(settings)
    assert said in str(refusal.value)


def test_the_dollars_of_a_law_are_converted() -> None:
    plain, grown = (build({"law": "us-2018-single", "dollars_of": year}).thresholds for year in (2018, 2024))
    assert plain == named_law("us-2018-single")[0].thresholds
    assert np.ptp(np.array(grown[1:]) / np.array(plain[1:])) < 1e-9
    assert grown[1] > 1.2 * plain[1]


def test_no_law_and_no_brackets_leave_the_settings_as_they_were() -> None:
    assert build({}) == RunConfig()
    assert build({}).thresholds == (0, 90_000, 159_100)


def test_laws_lists_every_name_and_shows_brackets(cli: CommandLine) -> None:
    listed = json.loads(cli("laws", "--json").out)
    assert {"us-2018-head", "us-2026-joint"} <= {row["law"] for row in listed}
    assert all(row["source"] for row in listed)
    assert all("Rev. Proc." in row["source"] for row in listed if row["law"].startswith("us-"))
    shown = json.loads(cli("laws", "us-2024-single", "--json").out)
    assert shown[3] == {"from, $ a year": 100_525, "rate, %": 24, "tax there, $": 17_168.5}
    assert "Rev. Proc. 2023-34" in " ".join(cli("laws", "us-2024-single").out.split())
    refused = cli("laws", "us-2024-singel")
    assert (refused.code, refused.out) == (2, "")
