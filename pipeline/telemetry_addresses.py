"""Where a run is reported: the addresses of an OTLP receiver and of an MLflow store, which only the user gives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit, urlunsplit

from programs.urls import is_url, shown

ENVIRONMENT = "env"
"""The value of a flag without an address: take it from the environment."""

PACKAGES = {
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "trackio": ("trackio",),
}
"""The packages of an extra that a command imports."""

TRACES, ANY = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
PATH = "/v1/traces"
SCHEMES = {"otlp": "http", "otlps": "https"}
"""Schemes of our own for `export --to`, and what they stand for."""

LOCAL_STORE = "sqlite:///mlflow.db"
"""MLflow's own default."""


def require(extra: str, flag: str) -> None:
    """ValueError unless the packages of the extra are installed."""
    if not all(map(_installed, PACKAGES[extra])):
        raise ValueError(f"{flag} needs the extra: uv sync --extra {extra}")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a parent
        return False


def traces_url(given: str, flag: str, environment: Mapping[str, str] = os.environ) -> str:
    """The URL to which spans are posted. ValueError in one line if there is none.

    `given`: the base address, or `env` for the standard variables of OpenTelemetry.

    >>> traces_url("http://127.0.0.1:4318", "--otel"), traces_url("otlp://collector:4318", "--to")
    ('http://127.0.0.1:4318/v1/traces', 'http://collector:4318/v1/traces')
    """
    if given != ENVIRONMENT:
        return _with_path(_url(given, flag))
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), PROTOCOL)
    if protocol != PROTOCOL:
        raise ValueError(f"{flag}: OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; expected {PROTOCOL}, usually port 4318")
    if environment.get(TRACES):
        return _url(environment[TRACES], TRACES)
    if environment.get(ANY):
        return _with_path(_url(environment[ANY], ANY))
    raise ValueError(f"{flag} has no address, and {ANY} is not set; expected e.g. {flag} http://127.0.0.1:4318")


def _url(text: str, what: str) -> str:
    scheme, separator, rest = text.partition("://")
    url = f"{SCHEMES.get(scheme, scheme)}{separator}{rest}"
    try:
        usable = is_url(url) and urlsplit(url).port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"{what} {shown(text)!r}: expected an address like http://127.0.0.1:4318")
    return url


def _with_path(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return url if path.endswith(PATH) else urlunsplit(parts._replace(path=path + PATH))


def store_uri(given: str, flag: str, environment: Mapping[str, str] = os.environ) -> str:
    """The address of the MLflow store. ValueError in one line if it is none.

    >>> store_uri("sqlite:///runs.db", "--mlflow")
    'sqlite:///runs.db'
    """
    uri = (environment.get("MLFLOW_TRACKING_URI") or LOCAL_STORE) if given == ENVIRONMENT else given
    scheme, separator, rest = uri.partition("://")
    if not (scheme and separator and rest):
        raise ValueError(
            f"{flag} {shown_store(uri)!r}: expected an address like {LOCAL_STORE} or http://127.0.0.1:5000"
        )
    return uri


def shown_store(uri: str) -> str:
    """The address of a store without a password.

    >>> shown_store("sqlite:///runs.db"), shown_store("postgresql://me:secret@127.0.0.1/runs")
    ('sqlite:///runs.db', 'postgresql://127.0.0.1/runs')
    """
    return shown(uri) if urlsplit(uri).netloc else uri
