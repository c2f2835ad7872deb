"""Workers with a persona who judge the tax policy: the value of planners when workers do not best-respond."""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="Which planner serves people who have a persona and judge the tax policy by it?",
    settings={"scenario": "bounded"},
    arms={
        "LLM": {"planner_type": "LLM"},
        "US_FED": {"planner_type": "US_FED"},
        "SAEZ": {"planner_type": "SAEZ"},
        "ORACLE": {"planner_type": "ORACLE"},
    },
    needing={"paper": {"SAEZ_THREE": {"planner_type": "SAEZ_THREE"}}},
)
