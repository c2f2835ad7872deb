"""Every planner that needs no model, for the same people, under every welfare function.

Nobody is asked: the economy in which all workers best-respond is solved, which is what such runs come to without the
noise of learning. ORACLE is that of each column.
"""

from evals.design import Experiment
from pipeline.baselines import RULES

EXPERIMENT = Experiment(
    question="How good is each planner that needs no model, by every idea of what is good?",
    solved=True,
    by_welfare=True,
    arms={name: {"planner_type": name} for name in ("ORACLE", *RULES)},
)
