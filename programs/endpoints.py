"""Resolve a model's name to its servers: address, the name sent to the server, and API key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from programs.dspy_versions import litellm
from programs.engines.http import Endpoint
from programs.environment import environment
from programs.listed_models import models_at
from programs.providers import AZURE, BY_PREFIX, OPENAI, Provider, of_host
from programs.secrets import hide_url
from programs.trust import Given, may_have_key
from programs.urls import cut, each_url, names_user, shown

IDENTITIES = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")
"""Variables of those who show Azure an identity and no key."""


def endpoints(
    name: str, base_url: str | None, *, timeout: float, connections: int, offline: bool, given: Given = None
) -> list[Endpoint]:
    """The servers of the model `name`: those of `base_url`, of the environment, or the provider's own.

    `offline`: none will be asked, and no key is needed. `given`: which addresses the user named himself; others of
    `base_url` get no key (programs/trust.py). ValueError says in one line what is missing or wrong.
    """
    known = {} if offline else environment()
    prefix, provider, bare = _named(name)

    def made(
        url: str | None, whose: Provider | None, sent: str, *, own: bool, known: Mapping[str, str] = known
    ) -> Endpoint:
        return _endpoint(name, url, whose, sent, known, own=own, offline=offline, room=(timeout, connections))

    if base_url:
        found = []
        for url in map(cut, each_url(base_url)):
            _check(url)
            trusted = known if _may_have_key(provider, url, known, given) else {}
            whose, sent = _at(name, bare, provider, url, trusted, offline=offline)
            found.append(made(url, whose, sent, own=True, known=trusted))
        return found
    if provider is None:
        plain = Endpoint(name, None, timeout, connections, known)
        if offline or plain.is_native() or _is_litellm(prefix):
            return [plain]
        place = OPENAI.base_url(known)
        if place is None:
            raise ValueError(
                f"{name}: no provider is called {prefix!r}; give --base-url for a server of your own that has this "
                f"model, or a prefix such as {', '.join(BY_PREFIX)}"
            )
        return [made(url, OPENAI, name, own=True) for url in each_url(place[1])]
    place = provider.base_url(known)
    if place is None:
        return [made(_usual(name, provider, known, offline=offline), provider, bare, own=False)]
    return [made(url, provider, bare, own=of_host(url) is None) for url in each_url(place[1])]


def without_key(name: str, base_url: str | None, given: Given) -> list[str]:
    """The addresses of `base_url` to which no key of the model `name` goes, because the user did not give them."""
    _, provider, _ = _named(name)
    return [url for url in map(cut, each_url(base_url)) if not _may_have_key(provider, url, environment(), given)]


def _named(name: str) -> tuple[str, Provider | None, str]:
    """The prefix of a model's name, its provider if that is known, and the name without the prefix of a known one."""
    prefix, slash, rest = name.partition("/")
    provider = BY_PREFIX.get(prefix) if slash else OPENAI
    return prefix, provider, rest if slash and provider else name


def _may_have_key(provider: Provider | None, url: str, known: Mapping[str, str], given: Given) -> bool:
    """Whether every key that `_at` could choose may go to `url`."""
    host = of_host(url)
    return all(may_have_key(url, whose, known, given) for whose in {host or OPENAI, host or provider or OPENAI})


def server_without_model(base_url: str | None) -> tuple[str, str] | None:
    """The address at which a model is to be looked for when none is named, and what named it."""
    place = ("--base-url", base_url) if base_url else OPENAI.base_url(environment())
    if place is None or all(of_host(url) is OPENAI for url in each_url(place[1])):
        return None
    return place[1], place[0]


def model_at(base_url: str, what: str, usual: str, given: Given = None) -> str:
    """The model of the servers at `base_url`: the only one, or `usual` if they have it among others.

    ValueError lists them where there are several, or says why there is none.
    """
    listed: list[set[str]] = []
    for url in map(cut, each_url(base_url)):
        _check(url)
        try:
            known = environment() if _may_have_key(OPENAI, url, environment(), given) else {}
            listed.append(set(models_at(url, (of_host(url) or OPENAI).key(known))))
        except ValueError as error:
            raise ValueError(f"{what} without --llm: {error}; name the model with --llm") from None
    names = sorted(set.intersection(*listed)) if listed else []
    if len(names) == 1 or usual in names:
        return usual if usual in names else names[0]
    if not names:
        raise ValueError(f"{what} without --llm: {shown(base_url)} lists no model; name one with --llm")
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    raise ValueError(f"{what} without --llm: the server has {', '.join(names[:20])}{more}; choose one with --llm")


def _at(
    name: str, bare: str, provider: Provider | None, url: str, known: Mapping[str, str], *, offline: bool
) -> tuple[Provider, str]:
    """Whose protocol and key count at the address `url`, and the name that is sent there.

    A prefix names the provider and is not sent, unless the server has a model of the whole name.
    """
    host = of_host(url)
    if provider is None:
        return host or OPENAI, name
    if host is not None and host is not provider:
        return host, name if host.own_names else bare
    if bare == name or offline:
        return provider, bare
    try:
        listed = models_at(url, provider.key(known), header=_header(provider), seconds=5)
    except ValueError:
        return provider, bare
    return (host or OPENAI, name) if name in listed and bare not in listed else (provider, bare)


def _check(url: str) -> None:
    hide_url(url)
    if names_user(url):
        raise ValueError(
            f"{shown(url)} has a user or a password before its host, which is not sent; "
            "put a key into OPENAI_API_KEY, or let a proxy of yours add the password"
        )


def _endpoint(
    name: str,
    url: str | None,
    whose: Provider | None,
    sent: str,
    known: Mapping[str, str],
    *,
    own: bool,
    offline: bool,
    room: tuple[float, int],
) -> Endpoint:
    """One server. `own`: it may need no key; `room`: seconds for an answer, and connections."""
    whose = whose or OPENAI
    _check(url or "")
    key = "offline" if offline else whose.key(known)
    if key is None and not (own or whose.free):
        if whose is AZURE and any(known.get(variable) for variable in IDENTITIES):
            return Endpoint(f"azure/{sent}", url, *room, known)
        raise ValueError(whose.needs_key(name))
    prefix = OPENAI.name if whose.door == OPENAI.door else whose.name
    if whose is AZURE and url is not None:
        url = _of_azure(url, sent, known)
    return Endpoint(f"{prefix}/{sent}", url, *room, known, key, _header(whose))


def _header(provider: Provider) -> str:
    return "api-key" if provider is AZURE else "authorization"


def _usual(name: str, provider: Provider, known: Mapping[str, str], *, offline: bool) -> str | None:
    """Where `provider` usually is; None where lm15 knows it. ValueError where there is no such place."""
    if provider is AZURE and not offline:
        if resource := known.get("AZURE_OPENAI_RESOURCE"):
            return f"https://{resource}.openai.azure.com"
        raise ValueError(
            f"{name} needs an endpoint: set AZURE_OPENAI_ENDPOINT, e.g. to https://NAME.openai.azure.com "
            "(environment or .env), or give it as --base-url"
        )
    return provider.address if provider.door == OPENAI.door and provider is not OPENAI else None


def _of_azure(url: str, deployment: str, known: Mapping[str, str]) -> str:
    """The address of a deployment: of the version that the environment names, else of the API without versions."""
    parts = urlsplit(url)
    version = known.get("AZURE_API_VERSION") or known.get("OPENAI_API_VERSION")
    path, query = parts.path.rstrip("/"), parts.query
    if path in ("", "/openai"):
        dated = version is not None and version[:1].isdigit()
        path = f"/openai/deployments/{deployment}" if dated else "/openai/v1"
    if version and "api-version=" not in query:
        query = f"{query}&api-version={version}" if query else f"api-version={version}"
    return urlunsplit(parts._replace(path=path, query=query))


def _is_litellm(prefix: str) -> bool:
    """Whether LiteLLM has a provider of that name; it takes seconds to import."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a price table from the network
    return prefix in {str(getattr(one, "value", one)) for one in litellm().provider_list}
