"""Complete the settings of a run with a name, and choose the model that it asks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.config import RunConfig, build
from pipeline.errors import UsageError
from programs.calls.model_names import RULES, without_folder
from programs.models import default_model
from programs.urls import cut, each_url


def configure(settings: Mapping[str, Any]) -> RunConfig:
    """Settings with a name, generated if none is given, but without a default model. UsageError in one line."""
    try:
        config = build(settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if config.base_url:  # addresses are often copied from an example request
        config = replace(config, base_url=",".join(map(cut, each_url(config.base_url))))
    if config.name:
        return config
    model = file_name(without_folder(config.llm or "default"))
    made = f"{config.scenario}-{model}-{config.num_agents}x{config.max_timesteps}-seed{config.seed}"
    return replace(config, name=made)


def file_name(text: str) -> str:
    """`text` as part of a file name, with only characters that this machine allows."""
    name = re.sub(r"[^\w.-]+", "-", text)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]+", "-", name)
    return name


def choose_model(config: RunConfig) -> tuple[str, str]:
    """The model of a run and why it was chosen. UsageError if none is named and a server has several."""
    if config.worker_type == "FIXED" and config.planner_type != "LLM":
        return RULES, f"no model is asked: workers are FIXED and the planner is {config.planner_type}"
    if config.llm:
        return config.llm, "--llm"
    try:
        return default_model(config.base_url, config.given)
    except ValueError as error:
        raise UsageError(str(error)) from error
