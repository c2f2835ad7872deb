"""No test spends money, reads a user's files, or is moved by another test."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from programs.engines.refused_parts import forget
from programs.models import environment
from programs.providers import addresses_in

settings.register_profile("unhurried", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("unhurried")

VARIANTS = re.compile(
    r"""test_bench.*(timed_beside_bare|latency_of_its_rounds|memory_grows)
    |test_shards.*(two_runs_at_once|killed_shard|knows_the_personas)
    |test_sweep.*interrupted_sweep
    |test_budget.*(to_the_uncapped_end|wide_cap_at_any)
    |test_examples.*(least_regret\[(xml|json|compact)|goes_on_has_the_examples|examples_that_it_does_not)
    |test_oracle.*brute_force_finds
    |test_policies.*hundred_people.*US_FED
    |test_sampling.*whatever_the_concurrency_and_can_be_replayed\[(refine|sc|best_of_n|reflect|knn)
    |test_docs.*one_folder\[(performance|report|sql|experiments|validity|elections|comparing|store|shocks|endpoints|scaling|cluster)
    |test_report_in_a_browser.*\[(two|one-(?!390))
    |test_simulation.*\[(planner|bracket|welfare|.*(ONE_LLM|FIXED|cot|json|xml|one.agent))
    |test_baselines.*not_below_any_baseline.*US_FED
    |test_evaluate.*every_welfare_function.*\[[1-9]
    |test_sweep.*(two_at_a_time|error_in_a_process)
    |test_experiments.*killed_once
    |test_limits.*(never_comes|refuses_has_half|failed_is_asked_again)
    |test_live.*(watch_prints|export_of_a_live)
    |test_experiments.*(is_not_played_twice|same_command)
    |test_exchange.*fork_takes_its_parent
    |test_mining.*goes_on_can_be
    |test_sandbox.*takes_too_long\[(?!sleep)
    |test_report\.py.*(side_by_side|still_going_on)
    |test_validity.*(killed|concurrency|whatever)
    |test_optimize.*(interrupted|whole_economies)
    |test_loopback.*hanging
    |test_local.*(concurrency|nothing_that_was_asked)
    |test_rules.*(-sync\]|xml|json)
    |test_crashes.*(a_fork_shares|unchanged_fork)
    |test_optimize.*(every_role|file_where_one_is_given|stored_runs_can)
    |test_dialects.*(any_concurrency\[llama|doctor_says.*\[(Azure|Open|vLLM|R1|Deep|LM|Mistral|strict)
                     |every_kind_and_leaves.*\[(OpenAI\]|vLLM|Azure|Deep|R1|strict)|own_name\[(o|gpt-5\.2))
    |test_limits.*waiting_for_a_limit
    |test_terminal.*(no_command_fails|device_without_room|null_device\[(?!>&-\])|sweep_whose_reader)
    |test_text_files.*any_locale\[BOM
    |test_signals.*any_strategy\[[16]-
    |test_docs.*(one_folder\[(optimizing|population|extending|cautions|satisfaction|yardsticks|v1)|commands_of_a_finding)
    |test_report_in_a_browser
    |test_printed_commands.*(tuned_program|studies_and_shards)
    |test_baselines.*not_below_any_baseline.*\[(flat-3|three-100|three-5)
    |test_elections.*no_share_of_the_offers
    |test_report\.py.*row_for_every_change
    |test_shards.*ends_last_merges
    |test_loopback.*garbage_never_stops.*\[(no.choices|truncated|html)
    |test_archetypes.*bench_tells
    |test_planner_share.*too_little_to_gain_has_no_share
    |test_crashes.*without_a_server_or_a_key\[(cot-(rational|democratic)|io-bounded)
    |test_compare.*where_the_p_value_does_not\[[35]
    |test_saez.*no_top_rate_collapses.*\[US_FED-1
    |test_saez.*half_a_percent_of_the_optimum\[[23]
    |test_sampling.*talks_nonsense\[(sc|reflect|best_of_n|knn)
    |test_simulation.*run_finished\[(platforms,|democratic,.(more|all)|bounded.(in|under)|approval|sortition|no.memory)
    |test_satisfaction.*\[report\]
    |test_together.*\[sc\]
    |test_archetypes.*goes_on_with_the_archetypes_it_had\[1
    |test_python.*examples_of_the_page""",
    re.VERBOSE,
)
"""Tests that do once more, with other settings, what another one does: slow, so that they run in CI, or by -m slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if VARIANTS.search(item.nodeid):
            item.add_marker("slow")


SPENDING = ("ECON_OPENAI", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Variables beside `*_API_KEY` with which a call could leave this machine or be charged to somebody."""


@pytest.fixture(autouse=True)
def nobody_pays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keys in the environment, an empty current folder, and nothing remembered of another test's."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name in (*SPENDING, *addresses_in(os.environ)):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment.cache_clear()
    forget()
    yield
    environment.cache_clear()
