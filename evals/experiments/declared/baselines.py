"""Every planner that needs no model, for the same people, under every welfare function or the one of `--welfare`.

Nobody is asked: the economy in which all workers best-respond is solved, which is what such runs come to without the
noise of learning. Under each objective the planners that have one (ORACLE, ORACLE_GRID, the SAEZ formulas) pursue it.
`start` is the law with which every planner with a model begins.
"""

from evals.experiments.declaration import Experiment
from pipeline.economy.baselines import BASELINE_RULES

EXPERIMENT = Experiment(
    question="How good is each planner that needs no model, for each objective?",
    solved=True,
    by_welfare=True,
    arms={
        **{name: {"planner_type": name} for name in ("ORACLE", "ORACLE_GRID", *BASELINE_RULES)},
        "start": {"planner_type": "LLM"},
    },
)
