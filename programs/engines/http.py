"""One attempt at a remote model: DSPy's bundled lm15 client where it knows the provider, LiteLLM elsewhere.

lm15 costs a third of LiteLLM's client time; the stock `dspy.LM` would cap it at 100 connections. Engines make
one attempt and raise `dspy.lm15` errors; callers decide on retries.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.request import getproxies

from dspy import lm15
from dspy.clients.engines import AsyncLM15Engine, LM15Engine

from programs.calls.multi_choice import Folding
from programs.calls.optional_parts import NEW_LIMIT, OLD_LIMIT, SAMPLES
from programs.dspy_versions import litellm_engines
from programs.engines import litellm_setup, refused_parts
from programs.engines.address_query import Addressed
from programs.engines.connections import AsyncWire, SyncWire
from programs.engines.refusal_reasons import Worded, WordedNow
from programs.providers import BY_PREFIX
from programs.urls import shown


@dataclass(frozen=True)
class Endpoint:
    """Where a model is: `route` is DSPy's `provider/model`; `environment` holds the keys and is never shown."""

    route: str
    base_url: str | None = None
    timeout: float = 30.0
    max_connections: int = 64
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str | None = field(default=None, repr=False)
    key_header: str = "authorization"

    @property
    def place(self) -> tuple[str, str | None]:
        """What tells this endpoint from others."""
        return self.route, self.base_url

    def __str__(self) -> str:
        return self.route if self.base_url is None else f"{self.route} at {shown(self.base_url)}"

    @property
    def limit(self) -> str:
        """The field in which lm15 sends the limit of tokens on this route."""
        return NEW_LIMIT if self.route.startswith(("openai/", "azure/")) else OLD_LIMIT

    @property
    def api_key(self) -> str | None:
        """The key of the provider, or a placeholder for an own server, which usually wants none."""
        return self.key or ("none" if self.base_url else None)

    @property
    def door(self) -> str:
        """lm15's name of the protocol."""
        prefix = self.route.partition("/")[0]
        return BY_PREFIX[prefix].door if prefix in BY_PREFIX else prefix

    def router_config(self, transport: Any = None) -> lm15.RouterConfig:
        """How lm15 gets there; by connections of its own unless a `transport` is given."""
        known = self.route.partition("/")[0] in BY_PREFIX
        return lm15.RouterConfig(
            env=dict(self.environment),
            api_keys={self.door: self.api_key} if known and self.api_key else None,
            base_urls={self.door: self.base_url.partition("?")[0]} if known and self.base_url else None,
            transport=transport,
            **(self._connections() if transport is None else {}),
        )

    def transport(self) -> Worded:
        """Connections of an event loop. Where the environment has no proxy, it is not searched on every call."""
        made = AsyncWire(**self.router_config().transport_kwargs(), trust_env=bool(getproxies()))
        return Worded(self._addressed(made))

    def transport_now(self) -> WordedNow:
        """Connections of threads."""
        made = SyncWire(**self.router_config().transport_kwargs(), trust_env=bool(getproxies()))
        return WordedNow(self._addressed(made))

    def _addressed(self, transport: Any) -> Any:
        """`transport`, which also sends what lm15 has no place for: the query of the address, and Azure's header."""
        query = (self.base_url or "").partition("?")[2]
        plain = not query and self.key_header == "authorization"
        return transport if plain else Addressed(transport, query, self.key_header)

    def _connections(self) -> dict[str, Any]:
        # The pool must outwait a full queue: the caller's own time limit bounds each attempt.
        timeouts = lm15.Timeouts(connect=min(10.0, self.timeout), read=self.timeout, write=self.timeout, pool=600.0)
        return {"max_connections": self.max_connections, "timeouts": timeouts}

    def is_native(self) -> bool:
        """Whether lm15 knows the provider of this route."""
        try:
            LM15Engine(lm15.RouterConfig(env={})).resolve(self.route)
        except lm15.LM15Error:
            return False
        return True


class _Remote:
    """What both engines share: the endpoint, its capabilities, and the route put on each request.

    `seeded`: whether the protocol has a sampling seed. `omit`: parts that are never sent (refused_parts.py).
    """

    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, endpoint: Endpoint, *, seeded: bool, omit: Collection[str] = ()) -> None:
        self.endpoint = endpoint
        self.parts = refused_parts.Parts(endpoint, frozenset(omit), endpoint.limit)
        params = {"temperature", "max_tokens", "top_p", "stop", "response_format"}
        self.supported_params = frozenset(params | ({"seed"} if seeded else set()))

    def bounded(self, request: lm15.Request) -> lm15.Request:
        """`request` with the limit of tokens that the server is told of: none where it takes none."""
        if request.config.max_tokens is None or not self.parts.unlimited:
            return request
        return replace(request, config=replace(request.config, max_tokens=None))

    def routed(self, request: lm15.Request) -> lm15.Request:
        """`request` for the model as this route names it."""
        return replace(request, model=self.endpoint.route)


class RemoteEngine(_Remote):
    """Synchronous attempts; close after use."""

    def __init__(self, endpoint: Endpoint, *, seeded: bool = False, omit: Collection[str] = ()) -> None:
        super().__init__(endpoint, seeded=seeded, omit=omit)
        self._native = endpoint.is_native()
        self._inner: Any = (
            LM15Engine(endpoint.router_config(endpoint.transport_now()))
            if self._native
            else litellm_engines()[0](timeout=endpoint.timeout)
        )

    def complete(self, request: lm15.Request) -> lm15.Response:
        if not self._native:
            litellm_setup.ready()
        return refused_parts.run_now(self.parts.steps(self.routed(request)), self._inner.complete)


class _Native:
    """lm15's client of one event loop. Its route is found once: DSPy's engine asks a thread for it on every call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.transport = endpoint.transport()
        self.engine = AsyncLM15Engine(endpoint.router_config(self.transport))
        self.route = self.engine.resolve(endpoint.route)
        self.client: Any = None

    async def complete(self, request: lm15.Request) -> lm15.Response:
        if self.client is None:  # making it may read credentials
            self.client = await asyncio.to_thread(self.engine.router.lm, f"{self.route.provider}:{self.route.model}")
        response: lm15.Response = await self.client.complete(replace(request, model=self.route.model))
        return response

    async def aclose(self) -> None:
        await self.engine.aclose()
        await self.transport.aclose()


class AsyncRemoteEngine(_Remote):
    """Asynchronous attempts; connection pools belong to one event loop each."""

    def __init__(self, endpoint: Endpoint, *, seeded: bool = False, omit: Collection[str] = ()) -> None:
        super().__init__(endpoint, seeded=seeded, omit=omit)
        self._native = endpoint.is_native()
        self._has_samples = self._native and endpoint.route.startswith(("openai/", "hosted_vllm/"))
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        self._folding: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

    def _pool(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = (
                _Native(self.endpoint) if self._native else litellm_engines()[1](timeout=self.endpoint.timeout)
            )
        return self._pools[loop]

    async def ready(self) -> None:
        """Load what the first call needs: its clock does not run yet."""
        if not self._native:
            await asyncio.to_thread(litellm_setup.ready)

    @property
    def takes_several(self) -> bool:
        """Whether one request may ask for several samples: the protocol says how, and the server has not refused."""
        return self._has_samples and SAMPLES not in self.parts.refused

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return await refused_parts.run(self.parts.steps(self.routed(request)), self._pool().complete)

    async def several(self, request: lm15.Request) -> lm15.Response:
        """One attempt for several samples (programs/calls/batching.py): the first, and with it the others
        (programs/calls/multi_choice.py)."""
        return await refused_parts.run(self.parts.steps(self.routed(request)), self._complete_several)

    async def _complete_several(self, request: lm15.Request) -> lm15.Response:
        loop, pool = asyncio.get_running_loop(), self._pool()
        model = f"{pool.route.provider}:{pool.route.model}"
        if loop not in self._folding:  # over the same connections; DSPy's engine would not let the request pass
            transport = Folding(pool.transport)
            self._folding[loop] = lm15.AsyncLMRouter(self.endpoint.router_config(transport))
        response: lm15.Response = await self._folding[loop].complete(replace(request, model=model))
        return response

    async def aclose(self) -> None:
        """Close this loop's pool."""
        self._folding.pop(asyncio.get_running_loop(), None)
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()
