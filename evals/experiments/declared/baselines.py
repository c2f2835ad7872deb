"""Every planner without a model, for the same people, under every welfare function or the one of `--welfare`.

No model is called: the experiment solves the economy in which every worker best-responds, which is the limit of such
runs without the noise of learning. Under each objective, the planners that have one (ORACLE, ORACLE_GRID, the SAEZ
formulas) maximize it. `start` is the initial law of every planner with a model.
"""

from evals.experiments.declaration import Experiment
from pipeline.economy.baselines import BASELINE_RULES

EXPERIMENT = Experiment(
    question="How good is each planner without a model, for each objective?",
    solved=True,
    by_welfare=True,
    arms={
        **{name: {"planner_type": name} for name in ("ORACLE", "ORACLE_GRID", *BASELINE_RULES)},
        "start": {"planner_type": "LLM"},
    },
)
