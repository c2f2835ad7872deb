"""What a model costs: the table, a user's own prices over it, and files of prices that are none."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from dspy import lm15
from dspy.clients.model_metadata import model_info, rate

from evals.testing.openai_server import Loopback
from programs.calls import prices
from programs.calls.prices import MILLION, Price, Prices, built_in, cost_usd, load, table

SMALL = ("--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--db", "a.duckdb")


def usage(**counts: int) -> lm15.Usage:
    return lm15.Usage(**counts)


def test_the_table_states_years_and_sources() -> None:
    assert date.fromisoformat(table()["date"]) > date(2026, 1, 1)
    assert "LiteLLM" in table()["source"]
    assert len(built_in()) > 25


@pytest.mark.parametrize("model", list(built_in()))
def test_the_table_is_what_its_source_says(model: str) -> None:
    provider, _, name = model.rpartition("/")
    info = model_info(provider or "openai", name)
    price = built_in()[model]
    for mine, key in (
        (price.input, "input_cost_per_token"),
        (price.cached, "cache_read_input_token_cost"),
        (price.output, "output_cost_per_token"),
    ):
        theirs = rate(info, key)
        assert (mine is None) == (theirs is None)
        assert mine is None or mine == pytest.approx((theirs or 0) * MILLION)
    assert price.longest == info["max_output_tokens"]


def test_a_model_that_only_dspy_knows_is_priced_by_dspy() -> None:
    assert "gpt-4" not in built_in()
    assert cost_usd("gpt-4", usage(input_tokens=MILLION, output_tokens=0)) == pytest.approx(30)


def test_reasoning_is_output_and_cached_input_is_cheaper_whatever_the_provider_counts() -> None:
    openai = usage(input_tokens=1000, output_tokens=500, cache_read_tokens=400, reasoning_tokens=300)
    assert cost_usd("gpt-5-mini", openai) == pytest.approx((600 * 0.25 + 400 * 0.025 + 500 * 2) / MILLION)
    gemini = usage(input_tokens=1000, output_tokens=200, cache_read_tokens=400, reasoning_tokens=300)
    assert cost_usd("gemini/gemini-2.5-flash", gemini) == pytest.approx((600 * 0.3 + 400 * 0.03 + 500 * 2.5) / MILLION)
    anthropic = usage(input_tokens=600, output_tokens=500, cache_read_tokens=400, reasoning_tokens=300)
    haiku = (600 * 1 + 400 * 0.1 + 500 * 5) / MILLION
    assert cost_usd("anthropic/claude-haiku-4-5", anthropic) == pytest.approx(haiku)


def test_a_users_price_beats_the_table_under_either_name() -> None:
    own = Prices({"openai/gpt-4o-mini": Price(1, 2)})
    for name in ("gpt-4o-mini", "openai/gpt-4o-mini"):
        assert own.of(name) == Price(1, 2)
    assert own.of("gpt-4o") == built_in()["gpt-4o"]
    assert own.of("rules") == prices.FREE
    assert own.of("qwen2.5") is None


def test_prices_toml_of_the_folder_is_used_and_prices_beats_it(tmp_path: Path) -> None:
    assert load(None).of("qwen") is None
    (tmp_path / "prices.toml").write_text('[models."qwen"]\ninput = 0.1\ncached = 0.05\noutput = 0.4\n')
    assert load(None).of("qwen") == Price(0.1, 0.4, 0.05)
    (tmp_path / "mine.toml").write_text('[models."qwen"]\ninput = 0\noutput = 0\n')
    assert load("mine.toml").cost_usd("qwen", usage(input_tokens=9, output_tokens=9)) == 0


BAD = {
    "no toml": ("models = ", "is not TOML"),
    "no models": ("x = 1", "has no models"),
    "a number": ("[models]\nqwen = 3", "expected input and output"),
    "no output": ("[models.qwen]\ninput = 1", "output is missing"),
    "negative": ("[models.qwen]\ninput = -1\noutput = 1", "input = -1"),
    "text": ('[models.qwen]\ninput = "a"\noutput = 1', "input = 'a'"),
    "nan": ("[models.qwen]\ninput = nan\noutput = 1", "input = nan"),
    "unknown key": ("[models.qwen]\nprice = 1", "unknown key 'price'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_price_file_is_one_line_and_exit_code_2(cli, tmp_path: Path, kind: str) -> None:
    text, words = BAD[kind]
    (tmp_path / "bad.toml").write_text(text)
    for extra in ((), ("--dry-run",)):
        result = cli("run", "--llm", "rules", "--prices", "bad.toml", *SMALL, *extra)
        assert result.code == 2
        assert result.err.startswith("error: --prices bad.toml")
        assert words in result.err
        assert result.err.strip().count("\n") == 0
    assert not cli.exists("a.duckdb")


def test_a_price_file_that_is_not_there_is_named(cli) -> None:
    result = cli("run", "--llm", "rules", "--prices", "nowhere.toml", *SMALL)
    assert (result.code, "--prices nowhere.toml cannot be read" in result.err) == (2, True)


def test_dollars_cannot_be_capped_without_a_price(cli, tmp_path: Path) -> None:
    with Loopback(models=("qwen",)) as server:
        asked = ("run", "--llm", "qwen", "--base-url", server.url, *SMALL)
        refused = cli(*asked, "--max-cost-usd", "1")
        assert refused.code == 2
        assert refused.err.strip().count("\n") == 0
        assert all(words in refused.err for words in ("qwen", "prices.toml", "--prices", "input ="))
        assert server.requests == []
        (tmp_path / "prices.toml").write_text('[models."qwen"]\ninput = 1000\noutput = 1000\n')
        assert cli(*asked, "--max-cost-usd", "100").code == 0
    (row,) = cli.sql("select sum(cost_usd) usd, sum(prompt_tokens + completion_tokens) t from lm_calls", "a.duckdb")
    assert row["usd"] == pytest.approx(row["t"] / 1000)


def test_a_model_without_a_price_costs_null(cli) -> None:
    with Loopback(models=("qwen",)) as server:
        assert cli("run", "--llm", "qwen", "--base-url", server.url, *SMALL).code == 0
    (row,) = cli.sql("select count(*) n, count(cost_usd) priced from lm_calls", "a.duckdb")
    assert row["n"] > row["priced"] == 0
