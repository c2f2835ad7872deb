"""Rational workers: a planner that learns, against planners that know the formula or the economy."""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="How close does a planner that only observes the economy come to planners that know it?",
    settings={"scenario": "rational"},
    arms={
        "LLM": {"planner_type": "LLM"},
        "FREE_MARKET": {"planner_type": "FREE_MARKET"},
        "US_FED": {"planner_type": "US_FED"},
        "UNIFORM": {"planner_type": "UNIFORM"},
        "SAEZ": {"planner_type": "SAEZ"},
        "ORACLE": {"planner_type": "ORACLE"},
    },
    needing={"paper": {"SAEZ_THREE": {"planner_type": "SAEZ_THREE"}}},
)
