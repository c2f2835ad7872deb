"""How the same questions are asked.

`knn` is not here: it answers from the decisions that a database holds, and would hang on which runs came before.
"""

from evals.design import Experiment

EXPERIMENT = Experiment(
    question="Which prompt strategy is worth its tokens?",
    arms={name: {"prompt_algo": name} for name in ("io", "cot", "sc", "best_of_n", "refine", "reflect")},
    shown=("welfare", "planner_share", "regret_share", "hours", "tokens"),
)
