"""The objective that the planner is given.

The last law of each run is judged under every welfare function, as if every worker best-responded to it.
"""

from evals.experiments.declaration import Experiment
from pipeline.economy.welfare import WELFARE

EXPERIMENT = Experiment(
    question="Does a planner that is given an objective find laws that are better by that objective?",
    by_welfare=True,
    arms={name: {"welfare": name} for name in WELFARE},
)
