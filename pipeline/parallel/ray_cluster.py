"""Connect to a Ray cluster, or start a local one and stop it at the end (extra `ray`)."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import interrupt_by
from pipeline.temporary_files import RAY
from programs.interruptible import in_main_thread

log = logging.getLogger("llm_economist")

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report every cluster to its makers
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` it would send this whole folder to every node
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection to a cluster."""

LONGEST = 22
"""Maximum characters of a folder for temporary files with which the paths of Ray's sockets are short enough."""


def require(config: RunConfig) -> None:
    """UsageError if the settings ask for Ray and it is not installed, or if the cluster does not exist."""
    if config.engine != "ray":
        return
    if find_spec("ray") is None:
        raise UsageError("--engine ray needs the extra `ray`: uv run --extra ray llm-economist ...")
    where = _where(config.ray_address)
    try:
        _knock(where)
    except OSError as error:
        raise _unusable(where, error) from error


def _where(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _unusable(where: str, error: Exception) -> UsageError:
    why = " ".join(str(error).split())[:200]
    return UsageError(f"--ray-address {where}: no Ray cluster there ({why}); start one with `ray start --head`")


def imported() -> Any:
    """The module `ray`, silenced."""
    os.environ.update(SETTINGS)
    import ray

    ray._private.worker.print_to_stdstream = _log_instead  # type: ignore[assignment]
    return ray


def _log_instead(said: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Suppress Ray's messages about its workers, which would garble the progress bar."""
    log.info("ray: %s", " ".join(" ".join(said["lines"]).split())[:500])


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to `address`, else to RAY_ADDRESS, else to a local cluster that ends with this block.

    An existing connection stays open.
    """
    ray = imported()
    if ray.is_initialized():
        yield ray
        return
    where = _where(address)
    folder = _folder() if where == "local" else None
    try:
        _connect(ray, where, folder)
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, where: str, folder: str | None) -> None:
    own: dict[str, Any] = {}
    if where == "local":
        own = {"include_dashboard": False, "_temp_dir": folder, "_node_ip_address": "127.0.0.1"}
    ours = (signal.SIGINT, signal.SIGTERM) if in_main_thread() else ()
    handlers = {number: signal.getsignal(number) for number in ours}
    try:
        _knock(where)
        ray.init(where, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unusable(where, error) from error
    except SystemExit:  # Ray's own handler of SIGTERM
        raise interrupt_by(signal.SIGTERM) from None
    finally:
        for number, handler in handlers.items():  # Ray has replaced them by its own
            signal.signal(number, handler)


def _knock(address: str) -> None:
    """Raise OSError if nothing listens there. Ray itself would retry for eight minutes and print each attempt."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()


def _folder() -> str | None:
    """A folder for Ray's files; None (Ray's own) if its path would be too long for a socket."""
    return tempfile.mkdtemp(prefix=f"{RAY}{os.getpid()}-") if len(tempfile.gettempdir()) <= LONGEST else None
