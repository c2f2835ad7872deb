"""Providers of language models, in one table: prefixes, addresses, keys. A new provider is one entry.

The environment variables are those that the providers' own programs, LiteLLM and DSPy read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from programs.urls import cut, each_url, is_url, repaired


@dataclass(frozen=True)
class Provider:
    """`prefixes` of a model's name; `bases` and `keys`: variables that hold the address and the key.

    `bases` are alternative names of one setting; of `keys`, the first that is set counts. `address`: the default
    address, None if there is none. `door`: lm15's name of the protocol. `root`: the API's path, appended to an address
    without a path. `own_names`: whether its models have names with a slash. `free`: whether it may need no key.
    """

    prefixes: tuple[str, ...]
    bases: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    address: str | None = None
    door: str = "openai-chat"
    root: str = "/v1"
    own_names: bool = False
    free: bool = False

    @property
    def name(self) -> str:
        return self.prefixes[0]

    def key(self, known: Mapping[str, str]) -> str | None:
        """The key in the `known` variables. ValueError, which does not show the key, if no request can carry it."""
        for name in self.keys:
            if key := known.get(name, "").strip():
                if not (key.isascii() and key.isprintable() and " " not in key):
                    raise ValueError(
                        f"{name} holds characters that no request can carry (a blank, a line break or a letter that "
                        "is not ASCII); copy the key again"
                    )
                return key
        return None

    def base_url(self, known: Mapping[str, str]) -> tuple[str, str] | None:
        """The variable that names an address, and the addresses. ValueError if two variables name different ones."""
        given = {name: self._address(name, known[name]) for name in self.bases if known.get(name, "").strip()}
        if len(set(given.values())) > 1:
            raise ValueError(f"{' and '.join(given)} name different addresses; unset all but one")
        return next(iter(given.items()), None)

    def _address(self, name: str, text: str) -> str:
        urls = each_url(repaired(text.strip(), 11434) if name == "OLLAMA_HOST" else text)
        if not urls or not all(map(is_url, urls)):
            raise ValueError(f"{name} is not a URL like http://127.0.0.1:8000/v1; correct it or unset it")
        return ",".join(self.rooted(cut(url)) for url in urls)

    def rooted(self, url: str) -> str:
        """`url` with the path of the API if it has none."""
        parts = urlsplit(url)
        return url if parts.path.strip("/") else urlunsplit(parts._replace(path=self.root))

    def needs_key(self, model: str) -> str:
        """The error for a model without a key."""
        return (
            f"{model} needs a key: set {' or '.join(self.keys)} (environment or .env), "
            "give --base-url for a server of your own, or use --llm rules"
        )


OPENAI = Provider(
    ("openai",),
    ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    ("OPENAI_API_KEY", "ECON_OPENAI"),
    "https://api.openai.com/v1",
)
AZURE = Provider(
    ("azure",),
    ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
    ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    root="",
)
PROVIDERS = (
    OPENAI,
    AZURE,
    Provider(
        ("openrouter",),
        ("OPENROUTER_API_BASE", "OPENROUTER_BASE_URL"),
        ("OPENROUTER_API_KEY",),
        "https://openrouter.ai/api/v1",
        "openrouter",
        "/api/v1",
        own_names=True,
    ),
    Provider(
        ("ollama", "ollama_chat"),
        ("OLLAMA_API_BASE", "OLLAMA_HOST"),
        ("OLLAMA_API_KEY",),
        "http://localhost:11434/v1",
        "ollama",
        free=True,
    ),
    Provider(
        ("hosted_vllm",),
        ("HOSTED_VLLM_API_BASE",),
        ("HOSTED_VLLM_API_KEY",),
        "http://localhost:8000/v1",
        "vllm",
        free=True,
    ),
    Provider(
        ("lm_studio",),
        ("LM_STUDIO_API_BASE",),
        ("LM_STUDIO_API_KEY",),
        "http://localhost:1234/v1",
        free=True,
    ),
    Provider(
        ("anthropic",),
        ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
        ("ANTHROPIC_API_KEY",),
        "https://api.anthropic.com/v1",
        "anthropic",
    ),
    Provider(
        ("gemini",),
        ("GEMINI_API_BASE",),
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini",
        "/v1beta",
    ),
    Provider(
        ("groq",), ("GROQ_API_BASE",), ("GROQ_API_KEY",), "https://api.groq.com/openai/v1", "groq", "/openai/v1", True
    ),
    Provider(("deepseek",), ("DEEPSEEK_API_BASE",), ("DEEPSEEK_API_KEY",), "https://api.deepseek.com/v1", "deepseek"),
    Provider(("mistral",), ("MISTRAL_API_BASE",), ("MISTRAL_API_KEY",), "https://api.mistral.ai/v1"),
)
"""The providers with known addresses and keys. For all others, LiteLLM finds them itself."""

BY_PREFIX: Mapping[str, Provider] = {prefix: one for one in PROVIDERS for prefix in one.prefixes}


def addresses_in(known: Mapping[str, str]) -> list[str]:
    """The variables of `known` that name the address of a provider."""
    return [name for one in PROVIDERS for name in one.bases if known.get(name, "").strip()]


def of_host(url: str) -> Provider | None:
    """The provider whose usual host is in `url`; no other provider's key is sent there."""
    host = urlsplit(url).hostname
    known = (one for one in PROVIDERS if one.address and not one.free)
    return next((one for one in known if urlsplit(str(one.address)).hostname == host), None)
