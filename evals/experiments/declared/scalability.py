"""More agents: the effect on the planner, and on the cost of a run.

Each size has its own people, so that nothing is paired. Sums over people, such as `welfare` under `inverse_income`,
grow with their number; compare the shares.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Does the planner still find good laws with more agents, and at what cost?",
    paired=False,
    arms={f"{agents} agents": {"num_agents": agents} for agents in (5, 10, 25, 50, 100)},
    shown=("planner_share", "regret_share", "hours", "tokens"),
)
