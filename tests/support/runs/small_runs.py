"""Small runs of every kind of economy, and the law and utilities recomputed by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray

from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig, build
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store

SMALL = {
    **{"llm": "rules", "num_agents": 4, "max_timesteps": 6, "two_timescale": 2, "seed": 7},
    "adapter": "chat",  # the prompts that are read below are in that format
}


MIXED = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}


BINDING = {"platforms": True, "binding_platforms": True, "num_agents": 7, "max_timesteps": 10}


RUNS: dict[str, dict[str, Any]] = {
    "rational": {},
    "rational with cot": {"prompt_algo": "cot"},
    "rational in json": {"adapter": "json"},
    "bounded in compact": {"scenario": "bounded", "adapter": "compact"},
    "rational, FIXED": {"worker_type": "FIXED"},
    "rational, ONE_LLM": {"worker_type": "ONE_LLM"},
    "rational, all utility types": MIXED,
    "bounded": {"scenario": "bounded"},
    "bounded, FIXED": {"scenario": "bounded", "worker_type": "FIXED"},
    "bounded, ONE_LLM": {"scenario": "bounded", "worker_type": "ONE_LLM"},
    "bounded, all utility types": {"scenario": "bounded", **MIXED},
    "bounded under US_FED": {"scenario": "bounded", "planner_type": "US_FED"},
    "democratic": {"scenario": "democratic"},
    "democratic with cot": {"scenario": "democratic", "prompt_algo": "cot", "platforms": True},
    "democratic, FIXED": {"scenario": "democratic", "worker_type": "FIXED"},
    "democratic, ONE_LLM": {"scenario": "democratic", "worker_type": "ONE_LLM"},
    "democratic, all utility types": {"scenario": "democratic", **MIXED},
    "democratic, more citizens than names": {"scenario": "democratic", "num_agents": 25, "max_timesteps": 4},
    "platforms": {"scenario": "democratic", "platforms": True, "num_agents": 7, "max_timesteps": 10},
    "platforms in xml": {"scenario": "democratic", "platforms": True, "adapter": "xml"},
    "platforms in compact with cot": {
        "scenario": "democratic",
        "platforms": True,
        "adapter": "compact",
        "prompt_algo": "cot",
    },
    "platforms, FIXED": {"scenario": "democratic", "platforms": True, "worker_type": "FIXED"},
    "platforms, ONE_LLM": {"scenario": "democratic", "platforms": True, "worker_type": "ONE_LLM"},
    "platforms, all utility types": {"scenario": "democratic", "platforms": True, **MIXED},
    "platforms, flat": {"scenario": "democratic", "platforms": True, "bracket_setting": "flat"},
    "platforms, seven brackets": {"scenario": "democratic", "platforms": True, "bracket_setting": "US_FED"},
    "approval": {"scenario": "democratic", "election_rule": "approval", "num_agents": 25, "max_timesteps": 4},
    "borda, ONE_LLM": {"scenario": "democratic", "election_rule": "borda", "worker_type": "ONE_LLM"},
    "condorcet, binding": {"scenario": "democratic", "election_rule": "condorcet", **BINDING},
    "sortition": {"scenario": "democratic", "election_rule": "sortition", "num_agents": 25, "max_timesteps": 4},
    "median voter, binding": {"scenario": "democratic", "election_rule": "median_voter", **BINDING},
    "planner US_FED on flat": {"planner_type": "US_FED", "bracket_setting": "flat"},
    "planner UNIFORM": {"planner_type": "UNIFORM", "uniform_rate": 30},
    "planner FREE_MARKET": {"planner_type": "FREE_MARKET"},
    "planner SAEZ": {"planner_type": "SAEZ", "elasticity": (0.18, 0.11, 0.57)},
    "planner SAEZ_FLAT": {"planner_type": "SAEZ_FLAT"},
    "planner SAEZ_THREE on flat": {"planner_type": "SAEZ_THREE", "bracket_setting": "flat"},
    "planner ORACLE": {"planner_type": "ORACLE", "bracket_setting": "flat"},
    "bracket flat": {"bracket_setting": "flat"},
    "bracket US_FED": {"bracket_setting": "US_FED"},
    "bounded, satisfaction counts": {"scenario": "bounded", "satisfaction": "objective"},
    "democratic, satisfaction counts": {"scenario": "democratic", "satisfaction": "objective", **MIXED},
    "economy v1": {"economy": "v1", "scenario": "bounded"},
    "welfare paper": {"welfare": "paper", **MIXED},
    "welfare utilitarian": {"welfare": "utilitarian", "scenario": "bounded"},
    "welfare rawlsian": {"welfare": "rawlsian", **MIXED},
    "welfare atkinson": {"welfare": "atkinson", "scenario": "democratic"},
    "welfare equality_productivity": {"welfare": "equality_productivity", "scenario": "bounded"},
    "warmup": {"warmup": 3, "two_timescale": 2},
    "warmup longer than the run": {"warmup": 99, "scenario": "democratic"},
    "a tax year longer than the run": {"two_timescale": 50},
    "a change every year, census wages": {"two_timescale": 1, "agent_mix": "acs"},
    "one agent": {"num_agents": 1},
    "one agent, bounded": {"num_agents": 1, "scenario": "bounded"},
    "one agent, democratic": {"num_agents": 1, "scenario": "democratic"},
    "one agent with a platform": {"num_agents": 1, "scenario": "democratic", "platforms": True},
    "one year": {"max_timesteps": 1, "scenario": "democratic", "platforms": True},
    "no memory, uniform wages": {"history_len": 1, "max_timesteps": 4, "agent_mix": "uniform"},
}


async def run(config: RunConfig, store: Store) -> Simulation:
    """Play `config` to its end in `store`."""
    llm_agents = LLMAgents(config, config.llm or "rules")
    simulation = Simulation(config, store, llm_agents)
    await simulation.play()
    store.finish_run(simulation.run_id, "finished")
    return simulation


def play(folder: Path, **settings: Any) -> duckdb.DuckDBPyConnection:
    """Play a small run into a new file in `folder`, and open that file."""
    path = str(folder / f"{len(list(folder.iterdir()))}.duckdb")
    with Store(path) as store:
        asyncio.run(run(build({**SMALL, "db": path, **settings}), store))
    return duckdb.connect(path, read_only=True)


@dataclass
class Played:
    """A finished run: its settings, and its file."""

    config: RunConfig
    db: duckdb.DuckDBPyConnection

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return self.db.execute(query).fetchall()

    def columns(self, query: str) -> dict[str, NDArray[Any]]:
        return dict(self.db.execute(query).fetchnumpy())

    def elections(self) -> list[int]:
        """The years in which the schedule may change."""
        if self.config.planner_type != "LLM":
            return []
        return [
            year
            for year in range(self.config.max_timesteps)
            if year % self.config.two_timescale == 0 and year >= self.config.warmup
        ]
