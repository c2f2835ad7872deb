"""Prompt strategies for the same questions.

`knn` answers from the decisions of earlier runs in a database, so it takes part only if --examples names one.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Which prompt strategy is worth its tokens?",
    arms={name: {"prompt_algo": name} for name in ("io", "cot", "sc", "best_of_n", "refine", "reflect")},
    needing={"examples": {"knn": {"prompt_algo": "knn"}}},
    shown=("welfare", "planner_share", "regret_share", "hours", "tokens"),
)
