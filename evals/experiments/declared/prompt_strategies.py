"""How the same questions are asked.

`knn` answers from the decisions that a database of earlier runs holds, so it takes part where one is named: --examples.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Which prompt strategy is worth its tokens?",
    arms={name: {"prompt_algo": name} for name in ("io", "cot", "sc", "best_of_n", "refine", "reflect")},
    needing={"examples": {"knn": {"prompt_algo": "knn"}}},
    shown=("welfare", "planner_share", "regret_share", "hours", "tokens"),
)
