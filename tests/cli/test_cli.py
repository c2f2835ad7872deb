"""The program as a user runs it, through its command line with the `rules` engine."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from evals.cli.main import main

SMALL = ("--num-agents", "4", "--max-timesteps", "12", "--two-timescale", "4", "--llm", "rules")
TABLES = ("decisions", "years", "votes", "platforms", "agents")


def table(db, name):
    with duckdb.connect(str(db), read_only=True) as connection:
        return connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()


@pytest.mark.parametrize("scenario", ["rational", "bounded", "democratic"])
@pytest.mark.parametrize("strategy", ["io", "cot"])
def test_a_run_ends_with_its_summary_and_its_database(cli, scenario, strategy):
    result = cli("run", "--scenario", scenario, "--prompt-algo", strategy, *SMALL, "--db", "a.duckdb")
    assert result.code == 0
    for words in ("ORACLE", "FREE_MARKET", "Planner share", "inverse", "a.duckdb"):
        assert words in result.out
    assert len(table("a.duckdb", "decisions")) == 48
    assert len(table("a.duckdb", "years")) == 12


def test_the_first_line_says_which_model_and_why(cli):
    result = cli("run", "--max-timesteps", "1", "--num-agents", "1")
    assert result.out.splitlines()[0].startswith("Model: rules (no --llm and no OPENAI_API_KEY")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["rational", "democratic"])
def test_concurrency_does_not_change_a_byte(cli, scenario):
    platforms = ["--platforms"] if scenario == "democratic" else []
    for concurrency in ("1", "64"):
        args = ("run", "--scenario", scenario, *platforms, *SMALL, "--concurrency", concurrency)
        assert cli(*args, "--db", f"c{concurrency}.duckdb").code == 0
    for name in TABLES:
        assert table("c1.duckdb", name) == table("c64.duckdb", name)


def test_flags_override_the_run_file(cli):
    Path("study.toml").write_text(
        'num_agents = 3\nmax-timesteps = 2\nscenario = "bounded"\n[strategy]\nworker = "cot"\n'
    )
    assert cli("run", "--config", "study.toml", "--num-agents", "2", "--db", "a.duckdb").code == 0
    (row,) = cli.sql("select num_agents, max_timesteps, scenario, config from runs", "a.duckdb")
    assert (row["num_agents"], row["max_timesteps"], row["scenario"]) == (2, 2, "bounded")
    assert json.loads(row["config"])["strategy"] == {"worker": "cot"}
    strategies = cli.sql("select distinct signature, strategy from lm_calls order by all", "a.duckdb")
    assert {r["signature"]: r["strategy"] for r in strategies} == {
        "ChooseLabor": "cot",
        "JudgeTaxPolicy": "cot",
        "SetTaxRates": "io",
        "WritePersona": "io",
    }


BAD = [
    (["run", "--scenario", "utopia"], 2, "utopia"),
    (["run", "--percent-ego", "90"], 2, "must add to 100"),
    (["run", "--num-agents", "0"], 2, "--num-agents 0"),
    (["run", "--max-timesteps", "-3"], 2, "--max-timesteps -3"),
    (["run", "--elasticity", "0.1", "0.2"], 2, "needs 1 or 3"),
    (["run", "--elasticity", "high"], 2, "--elasticity"),
    (["run", "--strategy", "worker=oracle"], 2, "unknown strategy 'oracle'"),
    (["run", "--strategy", "boss=io"], 2, "unknown role 'boss'"),
    (["run", "--program", "worker=missing.json"], 2, "missing.json does not exist"),
    (["run", "--config", "missing.toml"], 2, "missing.toml"),
    (["run", "--config", "broken.toml"], 2, "is not TOML"),
    (["run", "--config", "typo.toml"], 2, "num_agent"),
    (["run", "--db", "no/such/folder/a.duckdb"], 2, "does not exist"),
    (["run", "--db", "."], 2, "is a folder"),
    (["run", "--db", "text.txt"], 1, "is not a DuckDB database"),
    (["run", "--db", "other.duckdb"], 1, "another program"),
    (["run", "--llm", "gpt-4o-mini"], 2, "needs a key"),
    (["run", "--platforms"], 2, "--scenario democratic"),
    (["run", "--scenario", "democratic", "--planner-type", "US_FED"], 2, "--planner-type US_FED"),
    (["run", "--no-such-flag"], 2, "--no-such-flag"),
    (["frobnicate"], 2, "frobnicate"),
    (["show", "7", "--db", "none.duckdb"], 2, "none.duckdb does not exist"),
    (["runs", "--db", "text.txt"], 1, "is not a DuckDB database"),
    (["sql", "select 1", "--db", "none.duckdb"], 2, "none.duckdb does not exist"),
]


@pytest.mark.first_cases(13)
@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[" ".join(args) for args, _, _ in BAD])
def test_bad_input_is_one_line_with_a_way_out_and_leaves_nothing(cli, args, code, words):
    Path("broken.toml").write_text("num_agents = = 3")
    Path("typo.toml").write_text("num_agent = 3")
    Path("text.txt").write_text("not a database\n" * 300)
    with duckdb.connect("other.duckdb") as connection:
        connection.execute("CREATE TABLE mine(x INTEGER)")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = cli(*args)
    assert result.code == code
    assert words in result.err
    assert "Traceback" not in result.err + result.out
    assert result.err.strip().count("\n") <= 3  # a usage error of the parser may say how to get help
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.slow
def test_runs_show_and_sql_read_a_database(cli):
    cli("run", *SMALL, "--db", "a.duckdb")
    assert "rational" in cli("runs", "--db", "a.duckdb").out
    (call,) = cli.sql("select call_id, prompt from lm_calls where signature = 'ChooseLabor' limit 1", "a.duckdb")
    shown = cli("show", str(call["call_id"]), "--db", "a.duckdb").out
    assert call["prompt"] in shown
    assert "regret" in shown
    unknown = cli("show", "12", "--db", "a.duckdb")
    assert unknown.code == 2
    assert "no call 12" in unknown.err


@pytest.mark.slow
def test_sql_is_read_only_and_says_when_rows_are_left_out(cli):
    cli("run", *SMALL, "--db", "a.duckdb")
    before = Path("a.duckdb").read_bytes()
    for query in (
        "delete from runs",
        "select 1; select 2",
        "copy runs to 'x.csv'",
        "select * from read_text('/etc/passwd')",
    ):
        result = cli("sql", query, "--db", "a.duckdb")
        assert result.code == 2
        assert result.err.startswith("error: ")
    assert Path("a.duckdb").read_bytes() == before
    cut = cli("sql", "select * from decisions", "--db", "a.duckdb", "--limit", "5")
    assert "first 5 rows" in cut.err


@pytest.mark.slow
def test_personas_are_printed_and_used_by_a_later_run(cli):
    first = cli("personas", "--num-agents", "3", "--llm", "rules", "--db", "a.duckdb")
    assert first.code == 0
    assert first.out.count("You are a") == 3
    assert "3 written" in first.out
    again = cli("personas", "--num-agents", "3", "--llm", "rules", "--db", "a.duckdb")
    assert "3 from a.duckdb" in again.out
    cli(
        "run",
        "--scenario",
        "bounded",
        "--num-agents",
        "3",
        "--max-timesteps",
        "1",
        "--llm",
        "rules",
        "--db",
        "a.duckdb",
    )
    (row,) = cli.sql("select count(*) n from lm_calls where run_id = 3 and signature = 'WritePersona'", "a.duckdb")
    assert row["n"] == 0


def test_mixed_utility_types_are_named_in_the_summary(cli):
    args = ("--percent-ego", "50", "--percent-alt", "25", "--percent-adv", "25", "--db", "a.duckdb")
    result = cli("run", "--scenario", "bounded", *SMALL, *args)
    assert "2 altruistic or adversarial workers" in result.out
    assert "they have no persona" in result.out
    rows = cli.sql(
        "select utility_type, count(*) n, count(persona) p from agents group by all order by all", "a.duckdb"
    )
    assert [(r["utility_type"], r["n"], r["p"]) for r in rows] == [
        ("adversarial", 1, 0),
        ("altruistic", 1, 0),
        ("egotistical", 2, 2),
    ]


def test_a_degenerate_welfare_is_reported(cli):
    """v1's sum divides by income: one idle worker makes it nearly all of the welfare."""
    Path("lazy.py").write_text(
        "import dspy\n"
        "class Idle(dspy.Module):\n"
        "    def __init__(self, signature):\n"
        "        super().__init__()\n"
        "    async def aforward(self, **inputs):\n"
        "        return dspy.Prediction(labor=0)\n"
    )
    own = ("--strategy", "worker=lazy:Idle", "--worker-type", "ONE_LLM", "--planner-type", "UNIFORM")
    result = cli("run", "--welfare", "paper", *own, "--num-agents", "3", "--max-timesteps", "1", "--db", "a.duckdb")
    assert result.code == 0
    assert "Caution, last year as played: paper divides by income" in " ".join(result.out.split())


@pytest.mark.slow
def test_interrupt_keeps_finished_years():
    """Ctrl-C in a real process: exit 130, whole years in the store, the run marked interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evals", "run", "--max-timesteps", "100000", "--llm", "rules", "--db", "a.duckdb"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = Path("logs/rational-rules-5x100000-seed42.log")
    for _ in range(600):
        if log.exists() and "year 3" in log.read_text():
            break
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(2)
    try:
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in out
    years, decisions = len(table("a.duckdb", "years")), len(table("a.duckdb", "decisions"))
    assert years >= 3
    assert decisions == 5 * years


@pytest.mark.parametrize(("what", "code"), [("Query interrupted", 130), ("anything else", 1)])
def test_ctrl_c_during_a_query_is_not_reported_as_a_bug(what, code, monkeypatch, capsys):
    def interrupted(args):
        raise RuntimeError(what)

    monkeypatch.setattr("evals.cli.main._commands", lambda: interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert ("this is a bug" in capsys.readouterr().err) == (code == 1)


def test_a_resumed_run_keeps_its_log(cli):
    cli("run", *SMALL, "--max-tokens", "9000", "--db", "a.duckdb")
    (log,) = Path("logs").iterdir()
    before = log.read_text()
    assert "year 0:" in before
    assert "year 11:" not in before
    assert cli("resume", "1", "--max-tokens", "1000000", "--db", "a.duckdb").code == 0
    assert log.read_text().startswith(before)
    assert "year 11:" in log.read_text()


def test_schema_and_doctor_and_help_answer(cli):
    assert "CREATE TABLE IF NOT EXISTS decisions" in cli("schema").out
    doctor = cli("doctor")
    assert doctor.code == 0
    assert "OPENAI_API_KEY: not set" in doctor.out
    for command in ("run", "runs", "show", "sql", "schema", "personas", "doctor"):
        help = cli(command, "--help").out
        assert f"Example: llm-economist {command}" in " ".join(help.split())


def test_help_needs_no_heavy_import():
    code = (
        "import sys; sys.argv = ['llm-economist', '--help']\n"
        "from evals.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('dspy', 'duckdb', 'numpy', 'pydantic', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Play an economy" in out
    assert out.splitlines()[-1] == "[]"
