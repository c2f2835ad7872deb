"""Runs go out as Parquet and come in again as they were; damage is named, numbers never clash, nothing comes twice."""

import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from pipeline.errors import StoreError
from pipeline.store.call_rows import RUN_STRIDE
from pipeline.store.exchange import export
from pipeline.store.schema import SCHEMA_VERSION
from pipeline.store.writer import Store

BOUNDED = ("--scenario", "bounded", "--num-agents", "3", "--two-timescale", "2", "--llm", "rules")


@pytest.fixture
def played(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a run, a fork of it and an election; played once, and copied for each test."""
    kept = tmp_path_factory.getbasetemp() / "played.duckdb"
    if not kept.exists():
        play(cli)
        shutil.copy("a.duckdb", kept)
    shutil.copy(kept, "a.duckdb")
    return "a.duckdb"


def play(cli: CommandLine) -> None:
    assert cli("run", *BOUNDED, "--max-timesteps", "5", "--db", "a.duckdb", "--name", "first").code == 0
    assert cli("fork", "1", "--at", "3", "--seed", "7", "--db", "a.duckdb").code == 0
    democratic = (
        "--scenario",
        "democratic",
        "--platforms",
        "--binding-platforms",
        "--election-rule",
        "condorcet",
        "--num-agents",
        "3",
        "--max-timesteps",
        "4",
        "--two-timescale",
        "2",
    )
    assert cli("run", *democratic, "--llm", "rules", "--db", "a.duckdb", "--name", "third").code == 0


def tables(db: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in an order of their own."""
    with duckdb.connect(db, read_only=True) as connection:
        names = "SELECT table_name FROM duckdb_tables() ORDER BY table_name"
        return {
            name: connection.execute(f"FROM {name} ORDER BY ALL").fetchall()
            for (name,) in connection.execute(names).fetchall()
        }


def manifest_of(folder: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text())
    return manifest


@pytest.mark.slow
def test_all_runs_come_back_as_they_were(cli: CommandLine, played: str) -> None:
    assert cli("export", "all", "--to", "out", "--db", played).code == 0
    result = cli("import", "out", "--db", "b.duckdb")
    assert result.code == 0, result.err
    assert [line.split(" -> ")[1] for line in result.out.splitlines()] == ["run 1", "run 2", "run 3"]
    before, after = tables(played), tables("b.duckdb")
    assert before == after
    assert all(before[table] for table in ("runs", "years", "decisions", "lm_calls", "votes", "personas", "platforms"))


@pytest.mark.slow
def test_the_manifest_says_what_every_file_has(cli: CommandLine, played: str) -> None:
    assert cli("export", "third", "--to", "out", "--db", played).code == 0
    manifest = manifest_of("out")
    assert (manifest["format_version"], manifest["schema_version"]) == (1, SCHEMA_VERSION)
    assert manifest["code_version"]
    assert [run["run_id"] for run in manifest["runs"]] == [3]
    there = {str(path.relative_to("out")) for path in Path("out").rglob("*.parquet")}
    assert there == set(manifest["files"])
    assert "decisions/run_id=3/data.parquet" in there
    assert not any("run_id=1" in name for name in there)
    for name, file in manifest["files"].items():
        with duckdb.connect() as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM 'out/{name}'").fetchall()[0]
            packed = f"SELECT DISTINCT compression FROM parquet_metadata('out/{name}')"
            assert connection.execute(packed).fetchall() == [("ZSTD",)]
        assert rows == file["rows"]
    with duckdb.connect() as connection:
        by_run = "SELECT run_id, count(*) FROM 'out/years/*/*.parquet' GROUP BY run_id"
        assert connection.execute(by_run).fetchall() == [(3, 4)]


@pytest.mark.slow
def test_a_fork_takes_its_parent_along_and_both_replay_under_new_numbers(cli: CommandLine, played: str) -> None:
    assert cli("export", "2", "--to", "out", "--db", played).code == 0
    assert cli("run", *BOUNDED, "--max-timesteps", "1", "--db", "b.duckdb").code == 0
    assert cli("run", *BOUNDED, "--max-timesteps", "1", "--db", "b.duckdb").code == 0
    mine = tables("b.duckdb")
    result = cli("import", "out", "--db", "b.duckdb")
    assert result.out.splitlines() == ["run 1 (first) -> run 3", "run 2 (first-fork3) -> run 4"]
    (lineage,) = cli.sql(
        "select run_id, parent_run_id, fork_year from runs where parent_run_id is not null", "b.duckdb"
    )
    assert lineage == {"run_id": 4, "parent_run_id": 3, "fork_year": 3}
    assert cli("replay", "3", "--db", "b.duckdb").code == 0
    assert cli("replay", "4", "--db", "b.duckdb").code == 0
    joined = "select d.run_id, count(*) as n from decisions d join lm_calls using (call_id) group by 1 order by 1"
    assert [row["n"] for row in cli.sql(joined, "b.duckdb")] == [3, 3, 15, 15]
    numbers = f"select distinct run_id, call_id // {RUN_STRIDE} as run from lm_calls where run_id > 2 order by 1"
    assert [tuple(row.values()) for row in cli.sql(numbers, "b.duckdb")] == [(3, 3), (4, 4)]
    for table, rows in mine.items():
        assert set(map(repr, rows)) <= set(map(repr, tables("b.duckdb")[table])), "what was there is as it was"


@pytest.mark.slow
def test_what_is_here_already_is_refused_unless_again(cli: CommandLine, played: str) -> None:
    assert cli("export", "1", "--to", "out", "--db", played).code == 0
    assert cli("import", "out", "--db", "b.duckdb").code == 0
    once = tables("b.duckdb")
    refused = cli("import", "out", "--db", "b.duckdb")
    assert refused.code == 2
    assert refused.err.strip() == (
        "error: all runs of out are in b.duckdb already (run 1 is run 1); --again imports them once more"
    )
    assert tables("b.duckdb") == once
    assert cli("import", "out", "--db", "b.duckdb", "--again").out == "run 1 (first) -> run 2\n"
    assert tables("b.duckdb")["personas"] == once["personas"]


@pytest.mark.slow
def test_a_database_is_imported_without_known_runs(cli: CommandLine, played: str) -> None:
    assert cli("export", "1", "--to", "out", "--db", played).code == 0
    assert cli("import", "out", "--db", "b.duckdb", "--again").code == 0
    result = cli("import", played, "--db", "b.duckdb")
    assert result.out.splitlines() == [
        "run 1 (first) is already here, as run 1",
        "run 2 (first-fork3) -> run 2",
        "run 3 (third) -> run 3",
    ]
    assert tables("b.duckdb") == tables(played)
    assert "is the database itself" in cli("import", played, "--db", played).err


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), "is damaged: its checksum"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "is damaged: its checksum"),
        (lambda file: file.unlink(), "cannot be read (No such file or directory)"),
    ],
    ids=["changed", "truncated", "gone"],
)
def test_a_damaged_file_is_named_and_nothing_is_taken_in(
    cli: CommandLine, played: str, harm: Any, expected: str
) -> None:
    assert cli("export", "1", "--to", "out", "--db", played).code == 0
    harm(Path("out/decisions/run_id=1/data.parquet"))
    result = cli("import", "out", "--db", "b.duckdb")
    assert result.code == 1
    assert f"out/decisions/run_id=1/data.parquet {expected}" in result.err
    assert result.err.count("\n") == 1
    assert not cli.exists("b.duckdb")


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "another"}, "is not a manifest of `llm-economist export`"),
        ({"format_version": 99}, "has format_version 99, but this program supports 1"),
        ({"schema_version": 99}, f"has schema_version 99, but this program supports {SCHEMA_VERSION}"),
        ({"files": {"../../etc/passwd": {}}}, "names an unexpected file"),
        ({"files": None}, "is damaged"),
        ({"runs": [{"run_id": "1; drop table runs"}]}, "is damaged"),
        ({"runs": [{}]}, "is damaged"),
    ],
)
def test_a_manifest_that_cannot_be_believed_is_refused(
    cli: CommandLine, played: str, change: dict[str, Any], expected: str
) -> None:
    assert cli("export", "1", "--to", "out", "--db", played).code == 0
    (Path("out") / "manifest.json").write_text(json.dumps({**manifest_of("out"), **change}))
    result = cli("import", "out", "--db", "b.duckdb")
    assert result.code == 1
    assert expected in result.err
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_targets_and_sources_that_do_not_fit(cli: CommandLine, played: str) -> None:
    Path("full").mkdir()
    Path("full/a").touch()
    Path("empty").mkdir()
    for words, expected in (
        (("export", "1", "--to", "full"), "--to full is not empty"),
        (("export", "1", "--to", "full/a"), "--to full/a is a file"),
        (("export", "1", "--to", "full/a/b"), "--to full/a/b cannot be made"),
        (("export", "9", "--to", "x"), "no run '9'"),
        (("import", "nowhere"), "nowhere does not exist"),
        (("import", "empty"), "empty has no manifest.json"),
        (("import", "full/a"), "full/a"),
    ):
        result = cli(*words, "--db", played)
        assert result.code in (1, 2)
        assert expected in result.err
        assert result.err.count("\n") == 1
    assert cli("export", "1", "--to", "empty", "--db", played).code == 0, "an empty folder will do"
    assert cli("export", "1", "--to", "it's [a] *?", "--db", played).code == 0
    assert cli("import", "it's [a] *?", "--db", "b.duckdb").code == 0


def test_half_an_export_leaves_nothing(played: str) -> None:
    """Files of more than 3,000 bytes cannot be written, as on a disk that fills up after some files."""
    before = sorted(Path().iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(StoreError) as caught:
            export.export(played, ["all"], "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert sorted(Path().iterdir()) == before


def test_a_failed_import_leaves_the_database_as_it_was(cli: CommandLine, played: str) -> None:
    """One transaction: years of the second run clash here, after all rows of the first are in."""
    shutil.copy(played, "b.duckdb")
    assert cli("export", "all", "--to", "out", "--db", played).code == 0
    with Store("b.duckdb") as store:
        store.connection.execute("DELETE FROM runs")  # so that the numbers look free
    before = tables("b.duckdb")
    result = cli("import", "out", "--db", "b.duckdb")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert tables("b.duckdb") == before


def study(name: str, *, status: str = "finished", calls: int = 2) -> dict[str, list[dict[str, Any]]]:
    """What a study leaves behind: its row, a trial, calls with numbers of its own below zero, a score."""
    asked = {"run_id": None, "signature": "ChooseLabor", "status": "ok", "attempt": 0, "study": name}
    return {
        "studies": [{"study": name, "status": status}],
        "optimizer_trials": [{"study": name, "trial": 1, "score": 0.5}],
        "lm_calls": [{**asked, "call_id": -n, "prompt": f"{name} {n}"} for n in range(1, calls + 1)],
        "evaluations": [{"run_id": None, "study": name, "subject": "arm", "metric": "regret", "score": 1.5}],
    }


def prompts(db: str) -> list[str]:
    with duckdb.connect(db, read_only=True) as connection:
        rows = connection.execute("SELECT prompt FROM lm_calls WHERE run_id IS NULL ORDER BY call_id DESC").fetchall()
        numbers = connection.execute("SELECT count(DISTINCT call_id), max(call_id) FROM lm_calls WHERE run_id IS NULL")
        assert numbers.fetchone() in [(len(rows), -1), (0, None)], "each has a number, below zero"
    return [prompt for (prompt,) in rows]


@pytest.mark.slow
def test_studies_go_out_with_all_runs_and_come_in_as_they_were(cli: CommandLine, played: str) -> None:
    with Store(played) as store:
        store.write(study("tuned"))
    assert cli("export", "all", "--to", "out", "--db", played).code == 0
    said = cli("import", "out", "--db", "b.duckdb")
    assert (said.code, "study tuned" in said.out) == (0, True), said.err
    assert tables("b.duckdb") == tables(played)
    said = cli("import", "out", "--db", "b.duckdb")
    assert (said.code, said.err.count("already")) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [True, False])
def test_a_study_is_imported_next_to_others_and_only_once(cli: CommandLine, folder: bool) -> None:
    with Store("there.duckdb") as store:
        store.write(study("new", calls=3))
        store.write({name: rows for name, rows in study("both", calls=1).items() if name != "lm_calls"})
    with Store("here.duckdb") as store:
        store.write(study("both", status="running"))
    source = "out" if folder else "there.duckdb"
    assert not folder or cli("export", "all", "--to", "out", "--db", "there.duckdb").code == 0
    for _ in range(2):
        assert cli("import", source, "--db", "here.duckdb").code == 0
        assert prompts("here.duckdb") == ["both 1", "both 2", "new 1", "new 2", "new 3"]
        found = tables("here.duckdb")
        assert len(found["evaluations"]) == len(found["optimizer_trials"]) == 2
        assert cli.sql("SELECT study, status FROM studies ORDER BY study", "here.duckdb") == [
            {"study": "both", "status": "running"},
            {"study": "new", "status": "finished"},
        ]


def test_a_run_that_goes_out_alone_takes_no_calls_of_studies_along(cli: CommandLine, played: str) -> None:
    with Store(played) as store:
        store.write(study("tuned"))
    assert cli("export", "third", "--to", "out", "--db", played).code == 0
    assert cli("import", "out", "--db", "b.duckdb").code == 0
    assert prompts("b.duckdb") == []


def test_an_export_is_as_private_as_the_users_other_files(cli: CommandLine) -> None:
    assert cli("run", *BOUNDED, "--max-timesteps", "1", "--db", "a.duckdb").code == 0
    before = os.umask(0o077)
    try:
        assert cli("export", "1", "--to", "out", "--db", "a.duckdb").code == 0
    finally:
        os.umask(before)
    assert Path("out").stat().st_mode & 0o777 == 0o700
