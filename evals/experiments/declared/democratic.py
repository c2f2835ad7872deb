"""Who makes the law: a planner, or a leader whom the same people elect, with and without platforms."""

from evals.experiments.declaration import Experiment

EXPERIMENT = Experiment(
    question="What changes if the same people elect the leader who sets the taxes?",
    settings={"planner_type": "LLM"},
    arms={
        "planner": {"scenario": "bounded"},
        "leader": {"scenario": "democratic"},
        "platforms": {"scenario": "democratic", "platforms": True},
        "binding": {"scenario": "democratic", "platforms": True, "binding_platforms": True},
    },
)
