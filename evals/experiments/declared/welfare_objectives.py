"""What the planner is told to want.

The last law of each run counts, under every welfare function, as if all workers best-responded to it.
"""

from evals.experiments.declaration import Experiment
from pipeline.economy.welfare import WELFARE

EXPERIMENT = Experiment(
    question="Does a planner that is given an objective come to laws that are better by that objective?",
    by_welfare=True,
    arms={name: {"welfare": name} for name in WELFARE},
)
