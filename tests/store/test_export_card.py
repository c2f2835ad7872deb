"""`export --card` describes a published study: schema with units, provenance that replays, checksums, no local path."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
from pathlib import Path

import duckdb
import pytest
import yaml
from support.command_line import CommandLine

from evals.datasets.table_units import descriptions, unit_of
from pipeline.store.schema import make_schema

SMALL = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
DB = "a.duckdb"


@pytest.fixture
def played(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three runs: with settings of every kind, a fork of it, and an election under fixed order; played once."""
    kept = tmp_path_factory.getbasetemp() / "card.duckdb"
    if not kept.exists():
        varied = ("--strategy", "worker=cot,planner=io", "--shock", "year=2: wages*0.8", "--brackets", "0,20000,90000")
        assert cli("run", *SMALL, *varied, "--no-exploration", "--spending", "100.5", "--db", DB).code == 0
        assert cli("fork", "1", "--at", "2", "--seed", "7", "--temperature", "0", "--db", DB).code == 0
        assert cli("run", *SMALL, "--scenario", "democratic", "--platforms", "--name", "e | <b>", "--db", DB).code == 0
        shutil.copy(DB, kept)
    shutil.copy(kept, DB)
    return DB


def card(cli: CommandLine, *runs: str, to: str = "out", db: str = DB) -> str:
    result = cli("export", *runs, "--card", "--to", to, "--db", db)
    assert result.code == 0, result.err
    return (Path(to) / "README.md").read_text()


def runs_in(folder: str) -> list[int]:
    return [run["run_id"] for run in json.loads((Path(folder) / "manifest.json").read_text())["runs"]]


@pytest.mark.slow
def test_several_runs_are_named_by_number_range_and_name(cli: CommandLine, played: str) -> None:
    for given, expected in ((("1", "3"), [1, 3]), (("e | <b>", "1"), [3, 1]), (("2-9",), [1, 2, 3]), (("3", "3"), [3])):
        folder = "-".join(given).replace(" ", "")
        assert cli("export", *given, "--to", folder, "--db", played).code == 0
        assert runs_in(folder) == expected
    refused = cli("export", "1", "7-9", "--to", "none", "--db", played)
    assert (refused.code, Path("none").exists()) == (2, False)
    assert "no run '7-9'" in refused.err
    assert "it has: 3, 2, 1" in refused.err


@pytest.mark.slow
def test_ranges_name_the_runs_of_eval_too(cli: CommandLine, played: str) -> None:
    ranged, named = (cli("eval", *runs, "--db", played, "--json").out for runs in (["1-3"], ["1", "2", "3"]))
    assert ranged == named


@pytest.mark.slow
def test_the_header_is_yaml_and_every_file_belongs_to_one_configuration(cli: CommandLine, played: str) -> None:
    text = card(cli, "all")
    header = yaml.safe_load(text.split("---\n")[1])
    assert (header["license"], header["size_categories"]) == ("other", ["n<1K"])
    assert sum(one.get("default", False) for one in header["configs"]) == 1
    found = [
        str(path)
        for one in header["configs"]
        for data in one["data_files"]
        for path in Path("out").glob(data["path"])
        if data["split"] == "train"
    ]
    assert sorted(found) == sorted(map(str, Path("out").rglob("*.parquet")))


@pytest.mark.slow
def test_the_checksums_are_those_of_the_files_and_the_folder_imports(cli: CommandLine, played: str) -> None:
    listed = dict(re.findall(r"^\| `(\S+\.parquet)` \|.*\| `(\w{64})` \|$", card(cli, "1-3"), re.MULTILINE))
    files = {str(path.relative_to("out")): path for path in Path("out").rglob("*.parquet")}
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert cli("import", "out", "--db", "b.duckdb").code == 0


@pytest.mark.slow
def test_every_column_of_every_table_is_listed_with_its_unit(cli: CommandLine, played: str) -> None:
    text = card(cli, "all")
    assert "| `labor` | double | hours a week |" in text
    assert "| `regret` | double | dollars a year |" in text
    assert "| `welfare` | string |  |" in text, "the name of a function has no unit"
    tables = dict(re.findall(r"^### `(\w+)`\n\n(.*?)(?=\n#)", text, re.MULTILINE | re.DOTALL))
    for folder in {path.relative_to("out").parts[0] for path in Path("out").rglob("*.parquet")}:
        with duckdb.connect() as connection:
            sql = f"DESCRIBE FROM read_parquet('out/{folder}/**/*.parquet', hive_partitioning = false)"
            columns = {row[0] for row in connection.execute(sql).fetchall()}
        assert set(re.findall(r"^\| `(\w+)` \|", tables[folder], re.MULTILINE)) == columns


def test_every_number_in_the_schema_has_a_unit_and_every_table_a_description() -> None:
    with duckdb.connect() as connection:
        make_schema(connection)
        rows = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() JOIN duckdb_tables() USING (table_oid, table_name) "
            "WHERE data_type SIMILAR TO '(DOUBLE|BIGINT|INTEGER|TIMESTAMP).*'"
        ).fetchall()
    assert len(rows) > 100
    assert [row for row in rows if unit_of(*row) is None] == []
    assert {table for table, _ in rows} <= set(descriptions())


@pytest.mark.slow
def test_the_commands_on_the_card_play_the_same_runs(cli: CommandLine, played: str) -> None:
    block = re.search(r"```\n(# run 1\n.*?)\n```", card(cli, "all"), re.DOTALL)
    assert block
    for line in block[1].splitlines()[1::2]:
        words = shlex.split(line)
        assert words[:3] == ["uv", "run", "llm-economist"]
        assert cli(*words[3:], "--db", "again.duckdb").code == 0
    years = "select * exclude (planner_call_id) from years order by run_id, year"
    assert cli.sql(years, "again.duckdb") == cli.sql(years, played)
    decisions = "select * exclude (call_id) from decisions order by run_id, year, agent"
    assert cli.sql(decisions, "again.duckdb") == cli.sql(decisions, played)


@pytest.mark.slow
def test_equal_exports_have_equal_cards(cli: CommandLine, played: str) -> None:
    assert card(cli, "1-3", to="one") == card(cli, "1", "2", "3", to="two")


@pytest.mark.slow
def test_the_card_holds_no_path_no_key_and_no_markup_of_others(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-live0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    here = Path.cwd().resolve()
    db = str(here / "private" / "a.duckdb")
    Path("private").mkdir()
    name = f"<script>x</script>|\x1b[2J {key}\n```\n"
    assert cli("run", *SMALL, "--log-dir", str(here / "logs"), "--name", name, "--db", db).code == 0
    with duckdb.connect(db) as connection:  # as if weights from a folder had answered
        connection.execute("UPDATE lm_calls SET model = 'gguf:/srv/ada/secret/weights.gguf'")
        connection.execute("UPDATE runs SET llm = 'gguf:/srv/ada/secret/weights.gguf'")
    result = cli("export", "1", "--card", "--to", "out", "--db", db)
    assert result.code == 0, result.err
    assert db in result.err, "the tables hold the path, and the user is told"
    text = Path("out/README.md").read_text()
    for private in (str(here), "/home", "secret", key, "\x1b"):
        assert private not in text
    assert text.count("\n```") == 4, "two blocks, which no name ends"
    assert "<script>" not in re.sub(r"\n```\n.*?\n```\n", "", text, flags=re.DOTALL)
    assert "gguf:weights.gguf | a file of weights that is not on this machine any more" in text


@pytest.mark.slow
def test_a_file_of_weights_is_named_by_its_whole_checksum(cli: CommandLine, played: str) -> None:
    weights = Path("tiny.gguf")
    weights.write_bytes(b"GGUF" + bytes(64))
    with duckdb.connect(played) as connection:
        connection.execute(f"UPDATE lm_calls SET model = 'gguf:{weights.absolute()}'")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card(cli, "1")


@pytest.mark.slow
def test_an_export_without_a_card_has_none_and_training_data_have_their_own(cli: CommandLine, played: str) -> None:
    assert cli("export", "1", "--to", "plain", "--db", played).code == 0
    assert not Path("plain/README.md").exists()
    assert stat.S_IMODE(os.stat("plain").st_mode) & 0o700 == 0o700
    result = cli("export", "1", "3", "--format", "sft", "--explore", "--to", "sft", "--db", played)
    assert result.code == 0, result.err
    assert "| 3 |" in Path("sft/README.md").read_text()
