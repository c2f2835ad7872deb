"""`run --mlflow` and `export --to mlflow`, with the real package and a SQLite store."""

import contextlib
import json
import shutil
import warnings
from pathlib import Path

import pytest

DB = "a.duckdb"
SMALL = ("--llm", "rules", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)
STORE = "sqlite:///runs.db"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # of MLflow and what it imports
]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """An MLflow store with its tables: to make them takes seconds."""
    from evals.telemetry.mlflow_log import MlflowStore

    folder = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings(), contextlib.chdir(folder):  # where MLflow puts the artifacts of such a store
        warnings.simplefilter("ignore")
        MlflowStore(f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


@pytest.fixture
def client(empty_store, tmp_path):
    from mlflow import MlflowClient

    shutil.copy(empty_store, "runs.db")
    return MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")


def logged(client):
    """The experiment's number and its runs."""
    number = client.get_experiment_by_name("llm-economist").experiment_id
    return number, client.search_runs([number])


def everything(client):
    """All that the store holds of its one run, without the times at which it was written."""
    number, [run] = logged(client)
    histories = {
        name: sorted((one.step, one.timestamp, one.value) for one in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }
    traces = client.search_traces(locations=[number], max_results=100)
    spans = {trace.info.trace_id: sorted(span.span_id for span in trace.data.spans) for trace in traces}
    return run.info, run.data.params, histories, spans, client.download_artifacts(run.info.run_id, "report.html")


def spans_of(client, number):
    return [span for trace in client.search_traces(locations=[number], max_results=100) for span in trace.data.spans]


def test_a_run_is_logged_while_it_is_played_and_logging_it_again_adds_nothing(cli, client, tmp_path):
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    result = cli("run", *SMALL, "--mlflow", store)
    assert result.code == 0, result.err
    assert "--mlflow" not in result.out + result.err
    info, params, histories, spans, report = everything(client)
    years = cli.sql("select * from years order by year", DB)
    assert [value for _, _, value in histories["welfare"]] == [row["welfare"] for row in years]
    assert [step for step, _, _ in histories["mean_regret"]] == [0, 1, 2, 3]
    calls = cli.sql("select year, count(*) as n from calls group by year order by year", DB)
    assert [value for _, _, value in histories["calls"]] == [row["n"] for row in calls]
    [run] = cli.sql("select name, config from runs", DB)
    config = json.loads(run["config"])
    assert (info.run_name, info.status) == (run["name"], "FINISHED")
    assert params["num_agents"] == str(config["num_agents"])
    assert params["llm"] == "rules"
    assert len(spans) == 4
    total = sum(map(len, spans.values()))
    assert total == 4 + 14 + sum(row["n"] for row in calls)
    assert "<!DOCTYPE html>" in Path(report).read_text()[:100]

    number, _ = logged(client)
    asked = [span for span in spans_of(client, number) if span.name == "invoke_agent worker"]
    regrets = sorted(event.attributes["gen_ai.evaluation.score.value"] for span in asked for event in span.events)
    assert regrets == pytest.approx(sorted(row["regret"] for row in cli.sql("select regret from decisions", DB)))
    assert all(span.inputs is None for span in spans_of(client, number))

    again = cli("export", "1", "--to", f"mlflow:{store}", "--db", DB, "--trace-content")
    assert again.code == 0, again.err
    assert "4 years and 4 traces" in again.out
    same_info, *same = everything(client)
    assert same[:3] == [params, histories, spans]
    assert same_info.run_id == info.run_id
    calls = [span for span in spans_of(client, number) if span.name == "chat rules"]
    assert all("hours" in json.dumps(span.inputs) or "rates" in json.dumps(span.inputs) for span in calls)


def test_a_store_that_cannot_be_opened_is_refused_before_anything_is_played(cli):
    Path("runs.db").write_text("this is no database, but a text")
    result = cli("run", *SMALL, "--mlflow", STORE)
    assert result.code == 2, result.err
    assert f"MLflow at {STORE}" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not cli.sql("select * from runs", DB) if cli.exists(DB) else True
