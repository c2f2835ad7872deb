"""Several processes run into one database at once: each finishes, one file has all runs, nothing is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.runs.live_runs import DB, running, started, until, year_of

from pipeline.store import shards
from pipeline.store.call_rows import RUN_STRIDE
from pipeline.store.exchange.import_runs import import_into
from pipeline.store.writer import Store


@pytest.mark.slow
def test_two_runs_at_once_end_up_in_one_file(cli: CommandLine) -> None:
    with running(years=200, seed=1) as first:
        until(lambda: year_of(DB) > 0)
        with running(years=10, seed=2) as second:
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 0, said
            assert f"goes to economist.shard-{second.pid}.duckdb" in said
        assert first.poll() is None, "the second run was to end while the first one writes"
        assert shards.shards_of(DB) == [f"economist.shard-{second.pid}.duckdb"]
        merged, _ = first.communicate(timeout=60)
        assert first.returncode == 0, merged
    assert f"Run 1 of economist.shard-{second.pid}.duckdb is now run 2 of {DB}" in merged
    assert not list(Path().glob("*.shard-*"))
    assert cli.sql("select run_id, name, status, years_played from run_summary order by 1", DB) == [
        {"run_id": 1, "name": "seed1", "status": "finished", "years_played": 200},
        {"run_id": 2, "name": "seed2", "status": "finished", "years_played": 10},
    ]
    run_of_call = f"min(call_id // {RUN_STRIDE}) as run"
    counts = (
        f"select run_id, count(*) as n, count(call_id) as calls, {run_of_call} from decisions group by 1 order by 1"
    )
    assert cli.sql(counts, DB) == [
        {"run_id": 1, "n": 1000, "calls": 1000, "run": 1},
        {"run_id": 2, "n": 50, "calls": 50, "run": 2},
    ]
    assert cli("replay", "2").code == 0


@pytest.mark.slow
def test_the_process_that_ends_last_merges_everything(cli: CommandLine) -> None:
    """The owner of the file ends first; the shard's own process takes the shard in."""
    with running(years=60, seed=1) as first:
        until(lambda: year_of(DB) > 0)
        with running(years=50, seed=2) as second, running(years=40, seed=3) as third:
            for process in (first, second, third):
                said, _ = process.communicate(timeout=90)
                assert process.returncode == 0, said
    assert not list(Path().glob("*.shard-*"))
    rows = cli.sql("select name, years_played from run_summary order by 1", DB)
    assert [tuple(row.values()) for row in rows] == [("seed1", 60), ("seed2", 50), ("seed3", 40)]


@pytest.mark.slow
def test_a_killed_shard_stays_can_be_resumed_and_is_then_merged(cli: CommandLine) -> None:
    with Store(DB, serve=True):
        with running(years=40, seed=2) as process:
            shard = until(lambda: shards.shards_of(DB))[0]
            until(lambda: year_of(shard) > 3)
            process.send_signal(signal.SIGKILL)
        assert not shards.finished(shard)
    assert cli("run", "--llm", "rules", "--max-timesteps", "2").code == 0
    assert Path(shard).exists(), "a run that was cut off is not merged"
    told = cli("watch", "--once").out
    assert f"resume 1 --db {shard}" in told
    result = cli("resume", "1", "--db", shard)
    assert result.code == 0, result.err
    assert f"Run 1 of {shard} is now run 2 of {DB}" in result.out
    assert not list(Path().glob("*.shard-*"))
    assert cli.sql("select years_played from run_summary where run_id = 2", DB) == [{"years_played": 40}]


@pytest.mark.slow
def test_a_shard_merged_but_not_yet_deleted_is_not_merged_twice(cli: CommandLine) -> None:
    """As after a kill between the two."""
    assert cli("run", "--llm", "rules", "--max-timesteps", "2", "--db", "economist.shard-1.duckdb").code == 0
    shard = Path("economist.shard-1.duckdb")
    if not shard.exists():  # it is merged at the run's own end
        Path(DB).rename(shard)
    with Store(DB) as store:
        import_into(store, str(shard))
    assert shards.merge(DB) == [(str(shard), [])]
    assert not shard.exists()
    assert len(cli.sql("select * from runs", DB)) == 1


@pytest.mark.slow
def test_a_shard_knows_the_personas_of_the_file_it_belongs_to(cli: CommandLine) -> None:
    assert cli("personas", "--num-agents", "3", "--llm", "rules").code == 0
    bounded = ("--scenario", "bounded", "--num-agents", "3", "--max-timesteps", "2", "--llm", "rules")
    with Store(DB, serve=True), started("run", *bounded) as process:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        (shard,) = shards.shards_of(DB)
        assert cli.sql("select count(*) as n from lm_calls where signature = 'WritePersona'", shard) == [{"n": 0}]


def test_names_of_shards() -> None:
    Path(f"a.shard-{os.getpid()}.duckdb").touch()
    assert shards.new_shard("a.duckdb") == f"a.shard-{os.getpid()}-2.duckdb"
    assert shards.shards_of("a.duckdb") == [f"a.shard-{os.getpid()}.duckdb"]
    assert shards.main_of(f"folder/a.shard-{os.getpid()}.duckdb") == "folder/a.duckdb"
    assert shards.main_of("a.duckdb") == "a.duckdb"
    assert shards.shards_of("b.duckdb") == []


def test_a_file_that_another_program_holds_is_refused(monkeypatch: pytest.MonkeyPatch, cli: CommandLine) -> None:
    """No run answers there, so nothing says that it will ever be free."""
    monkeypatch.setattr(shards, "LOCK_TIMEOUT", 0.3)
    Store(DB).close()
    hold = f"import duckdb; c = duckdb.connect({DB!r}); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        result = cli("run", "--llm", "rules", "--max-timesteps", "1")
        holder.communicate("\n")
    assert result.code == 1
    assert f"in use by another process (PID {holder.pid})" in result.err
    assert not list(Path().glob("*.shard-*"))
