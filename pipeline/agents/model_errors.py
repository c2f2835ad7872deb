"""Turn an error from a model into one line that says why the model cannot be used and what to do."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from dspy.utils import exceptions as dspy_errors

from programs.models import without_secrets
from programs.providers import BY_PREFIX, OPENAI
from programs.secrets import LONGEST
from programs.urls import shown

REASONS = (
    (dspy_errors.LMBillingError, "the account has no credit left"),
    (dspy_errors.LMUnsupportedModelError, "the server does not know this model; check --llm"),
    (dspy_errors.LMRateLimitError, "the server kept refusing for too many requests; try again later"),
    (dspy_errors.LMTimeoutError, "no answer in time; check the server or raise --timeout"),
    (
        dspy_errors.LMTransportError,
        "the server cannot be reached; check --base-url (http or https, host, port) and the network",
    ),
    (dspy_errors.LMServerError, "the server failed"),
    (dspy_errors.LMInvalidRequestError, "the request was refused; check --llm"),
)
"""Reasons by the kind of an error, if its message says nothing more specific."""

WORDS = (
    (
        r"name or service not known|getaddrinfo|nodename nor servname|name resolution|no address associated",
        "the server cannot be reached: its host name is unknown; check the spelling of {address} and the network",
    ),
    (
        r"connection refused|connect call failed|errno 111|errno 61\b|winerror 10061",
        "the server cannot be reached: nothing listens at {address}; start the server, or correct host and port",
    ),
    (
        r"http request was sent to https port|http request to an https server|client sent an http request",
        "the server wants TLS; write https:// in place of http:// in {address}",
    ),
    (
        r"wrong.version.number|record layer|unknown protocol|packet length too long|http_request",
        "the server speaks http without TLS; write http:// in place of https:// in {address}",
    ),
    (
        r"certificate.verify|certificate verify failed|self.signed",
        "the certificate of {address} is not trusted here; give its issuer in SSL_CERT_FILE, or correct the host",
    ),
    (
        r"<!doctype html|<html|text/html|web page \(HTML\)",
        "a web page came back, not a reply of a model: a proxy, a sign-in page or another program answers at "
        "{address}; correct the address (most end in /v1), or take the host out of the proxy with NO_PROXY",
    ),
    (r"the server answers with", "what {address} sends is no reply of a model; check --base-url"),
)
"""Reasons by a pattern in the error's text; the first match counts."""


def cannot_use(model: str, error: BaseException, place: str | None = None) -> str:
    """One line on why a model cannot be used, with the server's message, without anything that could contain a key.

    `place`: the address that was asked; None for the provider's own.
    """
    said = without_secrets(str(error))[:160]
    return f"{model}: {_why(model, error, place)} ({said})"


def _why(model: str, error: BaseException, place: str | None) -> str:
    address = shown(place) if place else "the provider's address"
    told = _words(error)
    for pattern, reason in WORDS:
        if re.search(pattern, told, re.IGNORECASE):
            return reason.format(address=address)
    if isinstance(error, dspy_errors.LMAuthError):
        return f"the key was refused; check {_keys(model)} (environment or .env)"
    if isinstance(error, dspy_errors.LMNotConfiguredError):
        return f"no key is set for this provider; set {_keys(model)} (environment or .env)"
    if place and _is_about_the_path(error):
        return f"the server has nothing at this path; {_better(place)}"
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), "the call failed")


def _words(error: BaseException) -> str:
    """The messages of an error and of its causes."""
    said, seen = [], 0
    cause: BaseException | None = error
    while cause is not None and seen < 8:
        said.append(f"{type(cause).__name__} {str(cause)[:LONGEST]}")
        cause, seen = cause.__cause__ or cause.__context__, seen + 1
    return " ".join(said)


def _is_about_the_path(error: BaseException) -> bool:
    """Whether a 404 or 405 concerns the address; one that concerns a model names the model."""
    status = getattr(error, "status", None) or getattr(error.__cause__, "status", None)
    own_words = re.sub(r"^\[[^\]]*\]", "", str(error)).partition("To fix:")[0]  # DSPy puts the model's name first
    return status in (404, 405) and not re.search(r"model", own_words, re.IGNORECASE)


def _better(place: str) -> str:
    parts = urlsplit(shown(place.partition(",")[0]))
    if not parts.path.rstrip("/"):
        return f"use --base-url {urlunsplit(parts._replace(path='/v1'))}"
    return (
        f"expected an address to which /chat/completions can be added, as most servers have at "
        f"{urlunsplit(parts._replace(path='/v1'))}; correct --base-url"
    )


def _keys(model: str) -> str:
    prefix, slash, _ = model.partition("/")
    known = BY_PREFIX.get(prefix) if slash else OPENAI
    return " or ".join((known or OPENAI).keys)
