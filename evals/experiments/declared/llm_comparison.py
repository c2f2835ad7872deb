"""Language models in every role, compared with `rules`, which knows only what the prompt says.

The default models are those of the LLM Economist's comparison (Karten et al. 2025, arXiv 2507.15815); see `--llm
A,B,C`.
"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Which model decides and plans best, and at what cost?",
    each="llm",
    arms={"rules": {"llm": "rules"}, "gpt-4o-mini": {"llm": "gpt-4o-mini"}, "gpt-4o": {"llm": "gpt-4o"}},
    shown=("welfare", "planner_share", "regret_share", "hours", "tokens", "fallback_rate"),
)
