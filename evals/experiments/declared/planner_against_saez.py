"""A planner with a model against the Saez formula, under one objective at a time: does a language model beat it
(docs/findings/planner-beats-saez.md)?"""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Does a learning planner find better laws than the Saez formula, and for which objective?",
    settings={"scenario": "rational"},
    arms={"SAEZ": {"planner_type": "SAEZ"}, "LLM": {"planner_type": "LLM"}},
)
