"""Log years to Weights & Biases (extra `wandb`); with WANDB_MODE=offline nothing leaves the machine."""

from __future__ import annotations

from typing import Any

from pipeline.agents.agents import Usage
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.simulation.records import Year

PROJECT = "llm-economist"


class WandbLog:
    """A context manager around one W&B run; `on_year` logs a year."""

    def __init__(self, config: RunConfig, usage: Usage) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError("--wandb needs the extra: uv sync --extra wandb") from error
        self.wandb: Any = wandb
        self.config, self.usage = config, usage

    def __enter__(self) -> WandbLog:
        try:
            self.run = self.wandb.init(project=PROJECT, name=self.config.name, config=self.config.public())
        except self.wandb.Error as error:
            raise UsageError(f"--wandb: {error}; log in, or set WANDB_MODE=offline") from error
        return self

    def __exit__(self, *exc: object) -> None:
        self.run.finish()

    def on_year(self, year: Year) -> None:
        """Log welfare, hours, rebate, tokens and cost of one year."""
        self.run.log(
            {
                "welfare": year.welfare,
                "welfare_best_response": year.welfare_best_response,
                "mean_labor": float(year.outcome.labor.mean()),
                "mean_income": float(year.outcome.income.mean()),
                "rebate": year.outcome.rebate,
                "tokens": self.usage.tokens,
                "cost_usd": self.usage.cost_usd,
            },
            step=year.year,
        )
