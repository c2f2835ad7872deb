"""Users bring their own parts without a fork: by `module:Name` and by the entry points of an installed package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.own_parts import forget, install, write_module
from support.stored_rows import rows

import llm_economist as le
from pipeline.economy.baselines import BASELINES, certified_oracle
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.elections.rules import ELECTION_RULES
from programs.plugins import KINDS

SMALL = ("--llm", "rules", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale", "2", "--seed", "3")
DB = ("--db", "a.duckdb")


@pytest.fixture(autouse=True)
def mine(nobody_pays: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget("mine")
    write_module("mine")
    monkeypatch.syspath_prepend(".")
    yield
    forget("mine")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget("economist_parts")
    install("economist_parts", tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    yield
    forget("economist_parts")


def played(cli: CommandLine, *flags: str, db: str = "a.duckdb") -> list[dict[str, Any]]:
    """The years of a new run, which is the only one in its file."""
    result = cli("run", *SMALL, *flags, "--db", db)
    assert result.code == 0, result.err
    return cli.sql("SELECT * EXCLUDE (run_id) FROM years ORDER BY year", db)


# -- each kind, by both ways ---------------------------------------------------------------------------------------


def test_an_own_welfare_function_is_the_objective_in_the_numbers_and_in_the_prompt(cli: CommandLine) -> None:
    years = played(cli, "--welfare", "mine:middle")
    query = "SELECT year, median(utility) AS middle FROM decisions GROUP BY year ORDER BY year"
    assert [row["welfare"] for row in years] == pytest.approx([row["middle"] for row in cli.sql(query, "a.duckdb")])
    (prompt,) = cli.sql("SELECT prompt FROM calls WHERE signature = 'SetTaxRates' LIMIT 1", "a.duckdb")
    assert "Maximize social welfare = The median utility of all workers; utility = " in prompt["prompt"]
    assert all(row["welfare_best_response"] <= row["welfare_oracle"] + 1e-6 for row in years)


@pytest.mark.parametrize("planner", ["LLM", "SAEZ", "ORACLE"])
def test_an_own_copy_of_a_built_in_welfare_function_gives_the_same_years(cli: CommandLine, planner: str) -> None:
    own = played(cli, "--welfare", "mine:mean", "--planner-type", planner, db="own.duckdb")
    built_in = played(cli, "--welfare", "utilitarian", "--planner-type", planner, db="built_in.duckdb")
    assert [row["rates"] for row in own] == [row["rates"] for row in built_in]
    for name in ("welfare", "welfare_start", "welfare_oracle_grid", "welfare_oracle", "welfare_best_response"):
        assert [row[name] for row in own] == pytest.approx([row[name] for row in built_in]), name


def test_a_function_that_knows_one_population_only_gives_what_a_stacked_one_gives() -> None:
    single = WELFARE.take("mine:middle")
    stacked = WELFARE.take("mine:Spread")
    u = [[10.0, 30.0, 20.0], [5.0, 5.0, 8.0]]
    z, w = [[1.0, 2.0, 3.0]] * 2, [1.0, 2.0, 3.0]
    assert single(u, z, w).tolist() == [20, 5]
    assert stacked(u, z, w).tolist() == [-20, -3]
    assert single(u[0], z[0], w) == 20


def test_an_own_law_sets_fixed_rates_or_those_of_each_tax_year(cli: CommandLine) -> None:
    assert [row["rates"] for row in played(cli, "--planner-type", "mine:steep")] == [[30, 50, 70]] * 4
    creeping = played(cli, "--planner-type", "mine:Creeping", db="b.duckdb")
    assert [row["rates"] for row in creeping] == [[0] * 3, [0] * 3, [20] * 3, [20] * 3]
    same = played(cli, "--planner-type", "FREE_MARKET", db="c.duckdb")
    assert played(cli, "--planner-type", "mine:nothing", db="d.duckdb") == same


def test_oracle_is_at_least_as_good_as_the_runs_own_law(cli: CommandLine) -> None:
    (year, *_) = played(cli, "--planner-type", "mine:steep", "--welfare", "mine:middle")
    assert year["welfare_best_response"] <= year["welfare_oracle"] + 1e-9


@pytest.mark.parametrize("rule", ["mine:first_named", "mine:Lot"])
def test_an_own_election_rule_elects_the_leaders(cli: CommandLine, rule: str) -> None:
    democracy = ("--scenario", "democratic", "--platforms", "--election-rule", rule)
    years = played(cli, *democracy)
    votes = cli.sql("SELECT year, min(candidate) AS first FROM votes GROUP BY year ORDER BY year", "a.duckdb")
    if rule == "mine:first_named":
        assert [row["first"] for row in votes] == [years[0]["leader"], years[2]["leader"]]
        (prompt,) = cli.sql("SELECT prompt FROM calls WHERE signature = 'CastVote' LIMIT 1", "a.duckdb")
        assert "the one with the lowest number wins" in prompt["prompt"]
    else:
        assert votes == []
    judged = cli("elections", "1", "--allow-code", rule, *DB)
    assert judged.code == 0, judged.err


def test_an_own_copy_of_plurality_elects_the_same_leaders(cli: CommandLine) -> None:
    democracy = ("--scenario", "democratic", "--platforms", "--election-rule")
    own = played(cli, *democracy, "mine:most", db="own.duckdb")
    built_in = played(cli, *democracy, "plurality", db="built_in.duckdb")
    assert [row["leader"] for row in own] == [row["leader"] for row in built_in]


def test_an_own_experiment_is_played_and_judged(cli: CommandLine) -> None:
    result = cli("experiment", "mine:HALVES", *SMALL[:-2], "--seeds", "2", "--json", *DB)
    assert result.code == 0, result.err
    (found,) = json.loads(result.out)["experiments"]
    assert [arm["arm"] for arm in found["arms"]] == ["half", "none"]
    laws = cli.sql("SELECT DISTINCT rates, planner_type FROM years JOIN runs USING (run_id) ORDER BY ALL", "a.duckdb")
    assert [(row["planner_type"], row["rates"]) for row in laws] == [("RATES", [0] * 3), ("RATES", [50] * 3)]


def test_a_callback_gets_every_year_and_a_dspy_callback_every_call(cli: CommandLine) -> None:
    years = played(cli, "--callback", "mine:Told", "--callback", "mine:Listening")
    assert Path("told.txt").read_text() == "".join(f"{row['year']} {row['welfare']:.6f}\n" for row in years)
    (asked,) = cli.sql("SELECT count(*) AS calls FROM lm_calls WHERE signature <> 'Preflight'", "a.duckdb")
    assert Path("heard.txt").read_text().count("call") == asked["calls"]


def test_callbacks_change_no_decision(cli: CommandLine) -> None:
    with_them = played(cli, "--callback", "mine:Told", "--callback", "mine:Listening", db="a.duckdb")
    assert with_them == played(cli, db="b.duckdb")


PACKAGED = {
    "welfare": (("--welfare", "packaged_middle"), ("--welfare", "{}:middle")),
    "election rule": (
        ("--scenario", "democratic", "--election-rule", "packaged_rule"),
        ("--scenario", "democratic", "--election-rule", "{}:first_named"),
    ),
    "law": (("--planner-type", "packaged_law"), ("--planner-type", "{}:steep")),
    "strategy": (("--strategy", "worker=packaged_strategy"), ("--strategy", "worker={}:FortyHours")),
    "callback": (("--callback", "packaged_callback"), ("--callback", "{}:Told")),
}


@pytest.mark.parametrize("kind", PACKAGED)
def test_the_name_of_an_entry_point_does_what_module_and_name_do(cli: CommandLine, package: None, kind: str) -> None:
    by_entry_point, by_name = PACKAGED[kind]
    years = played(cli, *by_entry_point, db="a.duckdb")
    told = Path("told.txt").read_text() if Path("told.txt").exists() else ""
    assert years == played(cli, *(word.format("economist_parts") for word in by_name), db="b.duckdb")
    assert told * 2 == (Path("told.txt").read_text() if told else "")
    assert bool(told) == (kind == "callback")


def test_an_installed_experiment_is_found_by_its_name(cli: CommandLine, package: None) -> None:
    result = cli("experiment", "packaged_experiment", *SMALL[:-2], "--seeds", "1", *DB)
    assert result.code == 0, result.err


def test_every_kind_of_part_has_a_group_of_entry_points() -> None:
    groups = {kind.group for kind in KINDS}
    assert groups == {
        f"llm_economist.{name}"
        for name in ("strategies", "welfare", "election_rules", "baselines", "laws", "experiments", "callbacks")
    }


def test_a_typo_names_what_is_built_in_and_what_is_installed(cli: CommandLine, package: None) -> None:
    result = cli("run", *SMALL, "--welfare", "packaged_midle", *DB)
    assert result.code == 2
    assert "did you mean 'packaged_middle'?" in result.err
    assert "'rawlsian'" in result.err


def test_two_packages_with_one_name_are_refused(
    cli: CommandLine, package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("other_parts", tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    result = cli("run", *SMALL, "--welfare", "packaged_middle", *DB)
    assert result.code == 2
    assert "economist_parts:middle" in result.err
    assert "other_parts:middle" in result.err


def test_only_the_entry_point_that_was_named_is_imported(cli: CommandLine, package: None, tmp_path: Path) -> None:
    module = tmp_path / "site-packages" / "economist_parts.py"
    module.write_text("open('imported', 'w').close()\n" + module.read_text())
    assert cli("run", *SMALL, "--welfare", "rawlsian", *DB).code == 0
    assert not Path("imported").exists()
    assert cli("run", *SMALL, "--welfare", "packaged_middle", *DB).code == 0
    assert Path("imported").exists()


# -- what cannot be used -------------------------------------------------------------------------------------------

BROKEN = '''
import numpy as np

NUMBER = 3
LONG = "very " * 100


def welfare_words(function):
    function.words = "something"
    return function


@welfare_words
def undefined(u, z, w):
    return np.nan


@welfare_words
def shaped(u, z, w):
    return u


@welfare_words
def text(u, z, w):
    return "much"


@welfare_words
def raising(u, z, w):
    return 1 / 0


@welfare_words
def later(u, z, w):
    return np.nan if len(u) == 4 and u.max() != 27 else 1.0


@welfare_words
def two(u, z):
    return 1.0


def wordless(u, z, w):
    return np.mean(u)


def wordy(u, z, w):
    return np.mean(u)


wordy.words = LONG


@welfare_words
def unweighted(u, z, w):
    return np.mean(u)


class Needy:
    def __init__(self, needed):
        pass


def short(setting):
    return [30]


def high(setting):
    return [30, 40, 101]


def none(setting):
    return None


def failing(setting):
    raise RuntimeError("no law today")


def arguments(setting, other):
    return [30, 40, 50]


def stranger(poll, rng):
    """A stranger wins."""
    return 99


def formless(poll, rng):
    """One wins."""
    return None


formless.form = "letter"


def shouting(year):
    if year.year == 1:
        raise RuntimeError("enough")


class Deaf:
    def __call__(self):
        pass


import dspy


class Failing(dspy.utils.callback.BaseCallback):
    def on_lm_start(self, call_id, instance, inputs):
        raise RuntimeError("deaf")


import evals.experiments.declaration as d

EMPTY = d.Experiment(question="Nothing?", arms={})
ODD = d.Experiment(question="Odd?", arms={"a": 3})
UNKNOWN = d.Experiment(question="Unknown?", arms={"a": {"colour": "red"}})
'''

DEMOCRATIC = ("--scenario", "democratic", "--platforms", "--election-rule")
BAD = {
    "no module": (("--welfare", "nowhere:f"), ["--welfare nowhere:f cannot be loaded", "No module named"]),
    "no name": (("--welfare", "broken:nothing"), ["--welfare broken:nothing cannot be loaded", "nothing"]),
    "no module of a law": (("--planner-type", "nowhere:f"), ["--planner-type nowhere:f", "No module named"]),
    "no module of a rule": ((*DEMOCRATIC, "nowhere:f"), ["--election-rule nowhere:f", "No module named"]),
    "no module of a callback": (("--callback", "nowhere:f"), ["--callback nowhere:f", "No module named"]),
    "no module of a strategy": (("--strategy", "worker=nowhere:f"), ["--strategy nowhere:f", "No module named"]),
    "not callable": (("--welfare", "broken:NUMBER"), ["--welfare broken:NUMBER is of type int", "function"]),
    "not callable law": (("--planner-type", "broken:NUMBER"), ["--planner-type broken:NUMBER is of type int"]),
    "not callable rule": ((*DEMOCRATIC, "broken:NUMBER"), ["--election-rule broken:NUMBER is of type int"]),
    "not callable callback": (("--callback", "broken:NUMBER"), ["--callback broken:NUMBER is of type int"]),
    "class with arguments": (("--welfare", "broken:Needy"), ["--welfare broken:Needy failed", "needed"]),
    "NaN": (("--welfare", "broken:undefined"), ["--welfare broken:undefined returned nan", "finite number"]),
    "an array": (("--welfare", "broken:shaped"), ["--welfare broken:shaped returned an array of shape (4,)"]),
    "a text": (("--welfare", "broken:text"), ["--welfare broken:text returned 'much'", "number"]),
    "an error": (("--welfare", "broken:raising"), ["--welfare broken:raising failed", "ZeroDivisionError"]),
    "an error later": (("--welfare", "broken:later"), ["--welfare broken:later returned nan"]),
    "two arguments": (("--welfare", "broken:two"), ["--welfare broken:two cannot be called", "f(u, z, w)"]),
    "no words": (("--welfare", "broken:wordless"), ["--welfare broken:wordless has no words", "`words`"]),
    "many words": (("--welfare", "broken:wordy"), ["--welfare broken:wordy: its words have 499 characters", "300"]),
    "no weights": (
        ("--welfare", "broken:unweighted", "--planner-type", "SAEZ"),
        ["--planner-type SAEZ does not fit --welfare broken:unweighted", "`weights`", "ORACLE"],
    ),
    "too few rates": (("--planner-type", "broken:short"), ["--planner-type broken:short returned [30]", "3 rates"]),
    "a rate above 100": (("--planner-type", "broken:high"), ["broken:high returned the rates 30/40/101", "0 to 100"]),
    "no rates": (("--planner-type", "broken:none"), ["--planner-type broken:none returned None", "3 rates"]),
    "a law that fails": (("--planner-type", "broken:failing"), ["broken:failing failed", "no law today"]),
    "a law of two": (("--planner-type", "broken:arguments"), ["broken:arguments cannot", "law(setting, year)"]),
    "no candidate": ((*DEMOCRATIC, "broken:stranger"), ["--election-rule broken:stranger elected 99", "candidates"]),
    "no form": ((*DEMOCRATIC, "broken:formless"), ["broken:formless: form 'letter'", "name, set, ranking"]),
    "callback that fails": (("--callback", "broken:shouting"), ["--callback broken:shouting failed", "enough"]),
    "callback without a year": (("--callback", "broken:Deaf"), ["--callback broken:Deaf cannot", "callback(year)"]),
    "dspy callback that fails": (("--callback", "broken:Failing"), ["--callback broken:Failing failed", "deaf"]),
}


@pytest.fixture
def broken() -> Iterator[None]:
    forget("broken")
    Path("broken.py").write_text(BROKEN)
    yield
    forget("broken")


@pytest.mark.first_cases(24)
@pytest.mark.parametrize(("flags", "said"), BAD.values(), ids=BAD)
def test_a_part_that_cannot_be_used_is_one_line(
    cli: CommandLine, broken: None, flags: tuple[str, ...], said: list[str]
) -> None:
    result = cli("run", *SMALL, *flags, *DB)
    assert result.code == 2, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert result.err.strip().endswith(line)
    for words in said:
        assert words in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken:EMPTY", "has no arms"),
        ("broken:ODD", "arm 'a' is 3"),
        ("broken:UNKNOWN", "unknown setting 'colour'"),
        ("broken:NUMBER", "is of type int"),
        ("broken:nothing", "cannot be loaded"),
        ("nowhere:X", "No module named"),
        ("rationale", "did you mean rational?"),
    ],
)
def test_an_experiment_that_cannot_be_used_is_one_line(cli: CommandLine, broken: None, name: str, said: str) -> None:
    result = cli("experiment", name, *SMALL[:-2], *DB)
    assert result.code == 2, result.err
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_run_whose_callback_fails_is_marked_and_can_be_resumed(cli: CommandLine, broken: None) -> None:
    assert cli("run", *SMALL, "--callback", "broken:shouting", *DB).code == 2
    (run,) = cli.sql("SELECT status FROM runs", "a.duckdb")
    assert run["status"] == "failed"
    refused = cli("resume", "1", *DB)
    assert refused.code == 2
    assert "--allow-code broken:shouting" in refused.err
    resumed = cli("resume", "1", "--allow-code", "broken:shouting", *DB)
    assert resumed.code == 0, resumed.err
    assert cli.sql("SELECT year, welfare FROM years", "a.duckdb") == [
        {"year": row["year"], "welfare": row["welfare"]} for row in played(cli, db="b.duckdb")
    ]


# -- a database from a stranger ------------------------------------------------------------------------------------

STRANGE = {
    "welfare": {"welfare": "theirs:f"},
    "planner_type": {"planner_type": "theirs:f"},
    "election_rule": {"election_rule": "theirs:f"},
    "callback": {"callback": ["theirs:f"]},
}
AGAIN: dict[str, tuple[str, ...]] = {
    "resume": ("resume", "1"),
    "fork": ("fork", "1", "--at", "1"),
    "replay": ("replay", "1"),
    "interview": ("interview", "1", "Why?", "--agent", "1"),
    "eval": ("eval", "1"),
    "report": ("report", "1", "-o", "a.html"),
    "figure": ("figure", "lorenz", "1", "-o", "a.svg"),
}


def proposed(**settings: Any) -> None:
    """Write settings into the stored run, as its author could, and cut off its last years."""
    with duckdb.connect("a.duckdb") as connection:
        [(config,)] = connection.execute("SELECT config FROM runs").fetchall()
        connection.execute("UPDATE runs SET config = ?", [json.dumps({**json.loads(config), **settings})])
        connection.execute("UPDATE runs SET status = 'interrupted', finished_at = NULL")
        for table in ("years", "decisions", "lm_calls"):
            connection.execute(f"DELETE FROM {table} WHERE year > 1")


@pytest.fixture
def theirs() -> Iterator[None]:
    forget("theirs")
    Path("theirs.py").write_text(
        "open('imported', 'w').close()\n\n\ndef f(*inputs):\n    '''Words.'''\n    return 1.0\n"
    )
    yield
    forget("theirs")


@pytest.mark.first_cases(8)
@pytest.mark.parametrize("command", AGAIN)
@pytest.mark.parametrize("kind", STRANGE)
def test_no_part_that_only_a_database_names_is_imported(
    cli: CommandLine, theirs: None, kind: str, command: str
) -> None:
    assert cli("run", *SMALL, *DB).code == 0
    proposed(**STRANGE[kind])
    result = cli(*AGAIN[command], *DB)
    assert not Path("imported").exists()
    played_by = ("resume", "fork") if kind == "callback" else AGAIN
    if command in played_by:
        assert result.code == 2, result.err
        assert "--allow-code theirs:f" in result.err
        assert len(result.err.strip().splitlines()) == 1
    else:
        assert result.code == 0, result.err


@pytest.mark.parametrize("command", ["eval", "replay", "report", "interview"])
def test_a_part_that_is_allowed_again_is_used(cli: CommandLine, command: str) -> None:
    assert cli("run", *SMALL, "--welfare", "mine:middle", "--planner-type", "mine:steep", *DB).code == 0
    forget("mine")
    allow = ("--allow-code", "mine:middle", "--allow-code", "mine:steep")
    assert cli(*AGAIN[command], *DB).code == 2
    result = cli(*AGAIN[command], *allow, *DB)
    assert result.code == 0, result.err


def test_an_installed_part_that_only_a_database_names_is_not_imported(
    cli: CommandLine, package: None, tmp_path: Path
) -> None:
    module = tmp_path / "site-packages" / "economist_parts.py"
    module.write_text("open('imported', 'w').close()\n" + module.read_text())
    assert cli("run", *SMALL, *DB).code == 0
    proposed(welfare="packaged_middle", strategy={"worker": "packaged_strategy"})
    for command in ("resume", "eval"):
        result = cli(*AGAIN[command], *DB)
        assert result.code == 2
        assert "--allow-code packaged_" in result.err
    assert not Path("imported").exists()
    allow = ("--allow-code", "packaged_middle", "--allow-code", "packaged_strategy")
    assert cli(*AGAIN["resume"], *allow, *DB).code == 0


# -- rates that never change ---------------------------------------------------------------------------------------


def test_fixed_rates_are_the_law_of_every_year_in_sql_summary_and_report(cli: CommandLine) -> None:
    result = cli("run", *SMALL, "--rates", "30/42.5/60", *DB)
    assert result.code == 0, result.err
    assert "RATES" in result.out
    laws = cli.sql("SELECT DISTINCT planner_type, rates, rate_changes FROM years JOIN runs USING (run_id)", "a.duckdb")
    assert laws == [{"planner_type": "RATES", "rates": [30, 42.5, 60], "rate_changes": None}]
    (asked,) = cli.sql("SELECT count(*) AS n FROM lm_calls WHERE role = 'planner'", "a.duckdb")
    assert asked["n"] == 0
    assert cli("report", "1", "-o", "a.html", *DB).code == 0
    assert "fixed rates of 30/42.5/60 percent (--rates)" in Path("a.html").read_text()
    assert cli("replay", "1", *DB).code == 0


def test_fixed_rates_at_the_start_are_the_uniform_planner(cli: CommandLine) -> None:
    assert played(cli, "--rates", "50/50/50") == played(cli, "--planner-type", "UNIFORM", db="b.duckdb")


def test_a_fork_can_fix_the_rates_and_end_them(cli: CommandLine) -> None:
    played(cli)
    assert cli("fork", "1", "--at", "2", "--rates", "10/20/30", *DB).code == 0
    assert cli("fork", "2", "--at", "3", "--planner-type", "ORACLE", *DB).code == 0
    laws = cli.sql("SELECT run_id, planner_type, last_rates FROM run_summary ORDER BY 1", "a.duckdb")
    assert [row["planner_type"] for row in laws] == ["LLM", "RATES", "ORACLE"]
    assert laws[1]["last_rates"] == [10, 20, 30]


@pytest.mark.slow
def test_fixed_rates_are_arms_of_a_comparison(cli: CommandLine) -> None:
    arms = ("setting:rates=30/40/60", "setting:rates=0/0/0", "setting:planner_type=mine:steep")
    result = cli("compare", *arms, *SMALL[:-2], "--seeds", "2", "--welfare", "mine:middle", "--json", *DB)
    assert result.code == 0, result.err
    assert [arm["arm"] for arm in json.loads(result.out)["arms"]] == list(arms)


@pytest.mark.slow
def test_arms_with_own_and_built_in_objectives_are_judged_by_the_own_one(cli: CommandLine) -> None:
    arms = ("setting:welfare=mine:mean", "setting:welfare=utilitarian")
    result = cli("compare", *arms, *SMALL[:-2], "--seeds", "2", "--json", *DB)
    assert result.code == 0, result.err
    own, built_in = json.loads(result.out)["arms"]
    assert own["measures"]["welfare"]["mean"] == pytest.approx(built_in["measures"]["welfare"]["mean"])


# -- several processes, and Python ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_have_the_parts_too(cli: CommandLine) -> None:
    flags = ("--welfare", "mine:middle", "--strategy", "worker=mine:FortyHours", "--callback", "mine:Told")
    one = played(cli, *flags, db="one.duckdb")
    assert one == played(cli, *flags, "--processes", "2", db="two.duckdb")


def test_python_takes_the_objects_themselves_and_their_names() -> None:
    import mine  # type: ignore[import-not-found]

    settings: dict[str, Any] = {"llm": "rules", "num_agents": 3, "max_timesteps": 3, "two_timescale": 1}
    given = {"welfare": mine.middle, "planner_type": mine.Creeping, "callback": mine.Told}
    run = le.simulate(**settings, **given, db="a.duckdb")
    assert run.sql("SELECT welfare, planner_type FROM runs").fetchall() == [("mine:middle", "mine:Creeping")]
    named = {name: f"mine:{one.__name__}" for name, one in given.items()}
    le.simulate(**settings, **named, db="b.duckdb")
    assert rows("a.duckdb")["years"] == rows("b.duckdb")["years"]
    run.report("a.html")  # a run of this process needs no permission


def test_python_refuses_a_function_that_no_name_finds() -> None:
    with pytest.raises(le.UsageError, match="a run stores it as module:Name"):
        le.simulate(llm="rules", welfare=lambda u, z, w: 0.0, db="a.duckdb")


def test_looking_up_a_name_imports_nothing() -> None:
    for parts in (WELFARE, BASELINES, ELECTION_RULES):
        assert "mine:unseen" not in parts
        with pytest.raises(KeyError):
            parts["mine:unseen"]


def test_a_function_under_the_same_name_has_its_own_oracle() -> None:
    """In a notebook, a cell that defines a welfare function is run again."""
    import mine  # type: ignore[import-not-found]

    from pipeline.config import build
    from pipeline.simulation.world import create

    settings = {"welfare": "mine:middle", "num_agents": 6, "llm": "rules"}
    before = certified_oracle(create(build(settings)).setting()).certificate.welfare
    old = mine.middle
    mine.middle = lambda u, z, w: 2 * old(u, z, w)
    mine.middle.words = "twice the median"  # type: ignore[attr-defined]
    after = certified_oracle(create(build(settings)).setting()).certificate.welfare
    assert after == pytest.approx(2 * before)
