"""`bench memory`: memory per agent, with every worker asked or with archetypes, from the peak memory of two run sizes.

Each run is a process of its own on `rules`; memory that does not depend on agents is in both peaks and drops out of the
slope.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store

STATUS = Path("/proc/self/status")

ARCHETYPES = 100
"""Archetypes in the runs that have them; the larger run has ten times as many workers."""


def measure(*, num_agents: int, years: int) -> dict[str, float]:
    """Peaks in MB, and bytes per worker between `num_agents` / 10 and `num_agents` workers."""
    found: dict[str, float] = {}
    for name, most, archetypes in (("everybody_asked", num_agents, 0), ("archetypes", num_agents * 10, ARCHETYPES)):
        few = max(1, most // 10)
        small, large = (_peak(agents, years, archetypes) for agents in (few, most))
        found |= {
            f"{name}_{few}_mb": small / 1e6,
            f"{name}_{most}_mb": large / 1e6,
            f"{name}_bytes_per_agent": (large - small) / (most - few),
        }
    return found


def _peak(agents: int, years: int, archetypes: int) -> int:
    """Peak memory in bytes of a process that plays such a run."""
    command = [sys.executable, "-m", "evals.bench.memory", *map(str, (agents, years, archetypes))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return int(done.stdout.split()[-1])


def play(agents: int, years: int, archetypes: int) -> int:
    """Play the run here; return the peak memory of this process so far, in bytes."""
    config = RunConfig(
        num_agents=agents,
        max_timesteps=years,
        llm="rules",
        planner_type="US_FED",
        adapter="compact",
        archetypes=archetypes or None,
    )
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/memory.duckdb") as store:
        llm_agents = LLMAgents(config, "rules")
        run_async(Simulation(config, store, llm_agents).play())
    return _highest()


def _highest() -> int:
    """Linux reports this program alone; other systems may include the peak of the parent process."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(play(*map(int, sys.argv[1:])))
