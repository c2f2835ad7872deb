"""From a name to a model: which one and why, what it costs, how it fails, and what must never be seen of it."""

import asyncio
import copy
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from dspy import lm15
from dspy.utils.exceptions import LMAuthError, LMRateLimitError, LMTimeoutError
from support.village import CallRecorder, Scripted, ask, inputs_of, module_of, scripted_lm

from programs.calls.observed_engine import AsyncObservedEngine, ObservedEngine
from programs.engines.http import Endpoint
from programs.engines.rules.engine import RulesEngine
from programs.models import Model, connect, cost_usd, default_model, environment, without_secrets

KEY = "sk-proj-made0up0for0this0test"
OTHER_KEY = "another key without any shape"
HELLO = lm15.Request(model="any", messages=(lm15.Message.user("Hello"),))
FORTY = "[[ ## labor ## ]]\n40\n\n[[ ## completed ## ]]"


def refusal(model: Model) -> str:
    """What `connect` says when it refuses; one line."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the texts are what the tests look at)
        connect(model)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Which model


def test_without_a_key_no_model_is_called_and_the_reason_names_the_keys() -> None:
    name, why = default_model()
    assert name == "rules"
    assert "OPENAI_API_KEY" in why
    assert "ECON_OPENAI" in why


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "ECON_OPENAI"])
def test_with_a_key_the_small_openai_model_is_the_default(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, KEY)
    assert default_model() == ("gpt-4o-mini", f"{variable} is set")


def test_a_key_may_be_in_the_env_file_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"# keys\nECON_OPENAI={KEY}\n")
    assert default_model() == ("gpt-4o-mini", "ECON_OPENAI is set")


def test_the_environment_beats_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-file\nECON_OPENAI=\n")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert environment()["OPENAI_API_KEY"] == KEY
    assert "ECON_OPENAI" not in environment(), "an empty line in the file is no key"


def test_an_empty_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert default_model()[0] == "rules"


def test_rules_is_the_engine_without_a_model() -> None:
    assert isinstance(connect(Model("rules")).engine.inner, RulesEngine)


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-4o", "openai/gpt-4o", "o3-mini"])
def test_an_openai_name_without_a_key_is_refused_with_the_way_out(name: str) -> None:
    said = refusal(Model(name))
    assert said.startswith(f"{name} needs a key")
    assert all(way in said for way in ("OPENAI_API_KEY", "ECON_OPENAI", "--base-url", "rules"))


@pytest.mark.parametrize("name", ["llama3.2", "meta-llama/Llama-3.2-1B", "openai/some-model"])
def test_an_own_server_needs_no_key(name: str) -> None:
    endpoint = connect(Model(name, base_url="http://127.0.0.1:9/v1")).engine.inner.endpoint
    assert endpoint.base_url == "http://127.0.0.1:9/v1"
    assert endpoint.route == f"openai/{name.removeprefix('openai/')}"
    assert endpoint.api_key == "none"


def test_the_base_url_of_the_environment_is_an_own_server_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert connect(Model("llama3.2")).engine.inner.endpoint.base_url == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("name", ["gpt-4o-mini", "openai/gpt-4o-mini"])
def test_with_a_key_an_openai_model_is_asked_at_openai(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECON_OPENAI", KEY)
    endpoint = connect(Model(name)).engine.inner.endpoint
    assert (endpoint.route, endpoint.base_url, endpoint.api_key) == ("openai/gpt-4o-mini", None, KEY)


def test_a_reasoning_model_is_sent_neither_temperature_nor_seed_nor_a_small_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    thinking, plain = connect(Model("gpt-5-mini")), connect(Model("gpt-4o-mini"))
    assert "seed" not in thinking.engine.supported_params
    assert "seed" in plain.engine.supported_params
    assert not any(thinking.kwargs.get(name) for name in ("temperature", "max_tokens", "max_completion_tokens"))
    model = Model("gpt-4o-mini")
    assert (plain.kwargs["temperature"], plain.kwargs["max_tokens"]) == (model.temperature, model.max_tokens)


# An engine of one's own


@pytest.fixture
def own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A module in the current folder, forgotten after the test."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "my_engine", None)  # so that it is removed at the end
    del sys.modules["my_engine"]
    (tmp_path / "my_engine.py").write_text(
        "from dspy import lm15\n"
        "class Forty:\n"
        "    def complete(self, request):\n"
        f"        message = lm15.Message.assistant({FORTY!r})\n"
        "        return lm15.Response(id=None, model='forty', message=message, finish_reason='stop',\n"
        "                             usage=lm15.Usage())\n"
        "class Silent:\n"
        "    pass\n"
        "class Picky:\n"
        "    def __init__(self, needed): ...\n"
        "number = 3\n"
    )


@pytest.mark.usefixtures("own_code")
def test_an_engine_is_loaded_from_the_current_folder_and_answers() -> None:
    lm = connect(Model("engine:my_engine:Forty"))
    for sync in (True, False):
        assert ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm, sync=sync).labor == 40


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    "path",
    [
        "nowhere:Engine",
        "my_engine:Missing",
        "my_engine:Silent",
        "my_engine",
        ":Engine",
        "",
        "my_engine:Picky",
        "my_engine:number",
        ".my_engine:Forty",
        "broken:Engine",
    ],
)
def test_an_engine_that_cannot_be_loaded_is_refused_in_one_line(path: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("this is no python\n")
    assert f"engine:{path}" in refusal(Model(f"engine:{path}"))


# What it costs


def usage(**counts: int) -> lm15.Usage:
    return lm15.Usage(**counts)


def test_a_call_costs_what_the_price_list_says() -> None:
    # gpt-4o-mini: 15 cents a million tokens in, 60 cents out, 7.5 cents in from the cache
    million_each_way = usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost_usd("gpt-4o-mini", million_each_way) == pytest.approx(0.75)
    assert cost_usd("openai/gpt-4o-mini", million_each_way) == pytest.approx(0.75)
    half_cached = usage(input_tokens=1_000_000, output_tokens=0, cache_read_tokens=500_000)
    assert cost_usd("gpt-4o-mini", half_cached) == pytest.approx(0.075 + 0.0375)
    typical = usage(input_tokens=600, output_tokens=20, cache_read_tokens=0)
    assert cost_usd("gpt-4o-mini", typical) == pytest.approx(600 * 0.15e-6 + 20 * 0.6e-6)


def test_what_is_not_known_is_not_guessed() -> None:
    counted = usage(input_tokens=10, output_tokens=10)
    assert cost_usd("no-such-model", counted) is None
    assert cost_usd("no-such-provider/gpt-4o-mini", counted) is None
    assert cost_usd("engine:my_engine:Forty", counted) is None
    assert cost_usd("gpt-4o-mini", None) is None
    assert cost_usd("gpt-4o-mini", usage(output_tokens=10)) is None
    assert cost_usd("gpt-4o-mini", usage(input_tokens=10)) is None


def test_rules_is_free() -> None:
    assert cost_usd("rules", usage(input_tokens=1_000_000, output_tokens=1_000_000)) == 0
    assert cost_usd("rules", None) == 0


# What must not be seen


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Keys in the environment and in .env, of shapes known and unknown."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SOME_SERVICE_TOKEN", OTHER_KEY)
    (tmp_path / ".env").write_text("DATABASE_PASSWORD=hunter2hunter2\nMY_SECRET=s3cr3t-s3cr3t\n")
    return [KEY, OTHER_KEY, "hunter2hunter2", "s3cr3t-s3cr3t"]


def test_values_of_keys_are_blotted_out(keys: list[str]) -> None:
    for key in keys:
        text = without_secrets(f"401: the server says {key} is wrong")
        assert key not in text
        assert text.startswith("401: the server says ***")


@pytest.mark.parametrize(
    "secret",
    ["sk-abcdefghijklmnop", "sk-proj-a_b-c.d123456", "sk-ant-api03-xyz_123", "sk-ab***********wxyz", "pk_live_1234567"],
)
def test_what_looks_like_a_key_is_blotted_out(secret: str) -> None:
    for text in (f"Incorrect API key provided: {secret}.", f"key={secret}", f'{{"key": "{secret}"}}', secret):
        assert secret[3:-1] not in without_secrets(text)


def test_a_bearer_header_is_blotted_out() -> None:
    assert "abc.def.ghi" not in without_secrets("sent Authorization: Bearer abc.def.ghi to the server")


def test_text_without_a_secret_is_only_put_on_one_line() -> None:
    assert without_secrets("rate limit\n  reached for task-force at disk-space\t(429)") == (
        "rate limit reached for task-force at disk-space (429)"
    )


def test_an_error_about_a_key_stays_readable() -> None:
    assert without_secrets("Your API key expired yesterday") == "Your API key expired yesterday"


def test_an_endpoint_and_a_model_never_show_the_environment(keys: list[str]) -> None:
    shown = [repr(Endpoint("openai/gpt-4o-mini", environment=environment())), repr(Model("gpt-4o-mini"))]
    lm = connect(Model("gpt-4o-mini"))
    shown += [repr(lm), repr(lm.engine), repr(lm.engine.inner), repr(lm.engine.inner.endpoint), repr(lm.kwargs)]
    assert not any(key in text for key in keys for text in shown)


# How it fails


class Slow:
    """Takes a minute over each answer."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")


def test_an_answer_that_takes_too_long_is_a_timeout() -> None:
    lineage = CallRecorder()
    started = time.perf_counter()
    with pytest.raises(LMTimeoutError, match=r"0\.05 s"):
        ask(
            module_of("ChooseLabor"),
            inputs_of("ChooseLabor"),
            lm=scripted_lm(Slow(), timeout=0.05),
            lineage=lineage,
        )
    assert time.perf_counter() - started < 5
    (attempt,) = lineage.attempts
    assert isinstance(attempt.error, lm15.TimeoutError)
    assert attempt.latency_ms >= 40


def labor_from(*lines: str | Exception, retries: int = 2, sync: bool = False) -> tuple[Any, Scripted, CallRecorder]:
    engine, lineage = Scripted(list(lines)), CallRecorder()
    try:
        said: Any = ask(
            module_of("ChooseLabor"),
            inputs_of("ChooseLabor"),
            lm=scripted_lm(engine, retries=retries),
            lineage=lineage,
            sync=sync,
        ).labor
    except Exception as error:
        said = error
    return said, engine, lineage


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("kind", [lm15.RateLimitError, lm15.ServerError, lm15.TransportError, lm15.TimeoutError])
def test_what_passes_is_tried_again_after_the_wait_that_the_server_names(kind: Any, sync: bool) -> None:
    started = time.perf_counter()
    said, engine, lineage = labor_from(
        kind("later", retry_after=0.01), kind("later", retry_after=0.01), FORTY, sync=sync
    )
    assert said == 40
    assert 0.02 <= time.perf_counter() - started < 0.5, "the wait is the server's, not our own back-off"
    assert len(engine.requests) == 3
    assert [type(attempt.error) for attempt in lineage.attempts] == [kind, kind, type(None)]
    assert lineage.failures == 0


def test_tries_come_to_an_end() -> None:
    said, engine, lineage = labor_from(*[lm15.RateLimitError("later", retry_after=0.001)] * 5)
    assert isinstance(said, LMRateLimitError)
    assert len(engine.requests) == len(lineage.attempts) == 3


def test_a_model_is_tried_as_often_as_it_says() -> None:
    assert connect(Model("rules", retries=7)).num_retries == 7
    assert connect(Model("llama3.2", base_url="http://127.0.0.1:9/v1", retries=0)).num_retries == 0


def test_what_no_retry_can_mend_is_tried_once() -> None:
    said, engine, lineage = labor_from(lm15.AuthError("who are you?"), FORTY)
    assert isinstance(said, LMAuthError)
    assert len(engine.requests) == len(lineage.attempts) == 1


def attempt(engine: Any, *, is_async: bool) -> Any:
    """One attempt at `engine` without DSPy around it: the response, or the error."""
    try:
        if is_async:
            return asyncio.run(AsyncObservedEngine(engine, timeout=5).complete(HELLO))
        return ObservedEngine(engine).complete(HELLO)
    except lm15.LM15Error as error:
        return error


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_without_a_word_from_the_server_waits_are_spread(is_async: bool) -> None:
    waits = {attempt(Scripted([lm15.ServerError("down")]), is_async=is_async).retry_after for _ in range(20)}
    assert len(waits) == 20, "a thousand agents must not come back at once"
    assert all(0.5 <= wait <= 1.5 for wait in waits)


def test_a_named_wait_and_a_permanent_error_are_unchanged() -> None:
    named = attempt(Scripted([lm15.RateLimitError("later", retry_after=7.0)]), is_async=False)
    hopeless = attempt(Scripted([lm15.AuthError("no")]), is_async=False)
    assert named.retry_after == 7.0
    assert hopeless.retry_after is None


# How it is asked


def test_two_agents_with_one_prompt_are_two_samples() -> None:
    engine = Scripted([FORTY, FORTY.replace("40", "50")])
    lm = scripted_lm(engine)
    said = [ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm).labor for _ in range(2)]
    assert said == [40, 50]
    assert connect(Model("rules")).cache is False


@pytest.mark.parametrize("takes_seeds", [True, False])
def test_a_seed_goes_to_the_engines_that_take_one(takes_seeds: bool) -> None:
    engine = Scripted([FORTY])
    if takes_seeds:
        engine.supported_params = frozenset({"seed"})  # type: ignore[attr-defined]
    lineage = CallRecorder()
    ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=scripted_lm(engine), lineage=lineage)
    assert engine.requests[0].config.seed == (lineage.sampling_seed(engine.requests[0]) if takes_seeds else None)
    assert lineage.attempts[0].request == engine.requests[0], "what is reported is what was sent"


def test_an_attempt_is_reported_with_its_time_and_its_tokens() -> None:
    before = time.time()
    _, _, lineage = labor_from(FORTY)
    (made,) = lineage.attempts
    assert before <= made.started_at <= time.time()
    assert 0 <= made.latency_ms < 5000
    assert made.response is not None
    assert made.response.usage.input_tokens == 1000


def test_no_request_carries_a_key(keys: list[str]) -> None:
    engine = Scripted([FORTY])
    ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert not any(key in repr(engine.requests[0]) for key in keys)


def test_a_model_can_be_copied_as_optimizers_do() -> None:
    original = connect(Model("rules"))
    assert isinstance(copy.deepcopy(original).engine.inner, RulesEngine)
