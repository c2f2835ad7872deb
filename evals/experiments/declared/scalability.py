"""More agents: what that does to the planner, and to what a run takes.

Each size has people of its own, so that nothing is paired; sums over people, as `welfare` under `inverse_income`, grow
with their number, and the shares are what to read.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Does the planner still find its way with more agents, and what does that take?",
    paired=False,
    arms={f"{agents} agents": {"num_agents": agents} for agents in (5, 10, 25, 50, 100)},
    shown=("planner_share", "regret_share", "hours", "tokens"),
)
