"""llama.cpp in this process, on a tiny model of random weights: what it is asked, held to, and must not remember."""

import asyncio
import copy
import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dspy import lm15
from support.models import tiny_model
from support.village import CallRecorder, ask, inputs_of, module_of

from programs.calls.context import CallContext, entered
from programs.engines import local
from programs.engines.local import AsyncLocalEngine, LocalEngine, LocalModel, model_of
from programs.models import Model, connect, cost_usd

pytest.importorskip("xllamacpp")


SHORT = "Say where you live, and with whom, and since when."


SYSTEM = "You are a worker. You answer in few words. Once you have answered, you say nothing more until you are asked."


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(file: Path) -> LocalModel:
    return LocalModel(file)


def request(*said: str, seed: int | None = 3, schema: dict[str, Any] | None = None, **config: Any) -> lm15.Request:
    """What was said in turns, the user first."""
    kinds = (lm15.Message.user, lm15.Message.assistant)
    held = {"type": "json_schema", "schema": schema} if schema else None
    settings = {"temperature": 0.7, "max_tokens": 40, "seed": seed, "response_format": held} | config
    messages = tuple(kinds[i % 2](text) for i, text in enumerate(said))
    return lm15.Request(model="any", system=SYSTEM, messages=messages, config=lm15.Config(**settings))


LABOR = {
    "type": "object",
    "properties": {"labor": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["labor"],
    "additionalProperties": False,
}


EVERYTHING = {
    "type": "object",
    "properties": {
        "b": {"type": "boolean"},
        "name": {"enum": ["worker 0", "worker 2"]},
        "changes": {"type": "array", "items": {"enum": [-10, 0, 10]}, "minItems": 3, "maxItems": 3},
        "a": {"anyOf": [{"$ref": "#/$defs/Short"}, {"type": "null"}]},
    },
    "$defs": {"Short": {"type": "string", "minLength": 2, "maxLength": 5}},
    "required": ["b", "name", "changes", "a"],
    "additionalProperties": False,
}


# What it says


@pytest.mark.slow
def test_a_reply_is_json_of_the_schema_whatever_the_model_would_say(model: LocalModel) -> None:
    hours = set()
    for seed in range(8):
        reply = model.complete(request(f"{seed} {SHORT}", seed=seed, schema=LABOR, temperature=2.0))
        assert reply.text == f'{{"labor": {json.loads(reply.text)["labor"]}}}', "in the spacing of json.dumps"
        hours.add(json.loads(reply.text)["labor"])
    assert hours <= set(range(101))
    assert len(hours) > 1
    answer = json.loads(model.complete(request(SHORT, schema=EVERYTHING, max_tokens=200)).text)
    assert list(answer) == ["b", "name", "changes", "a"], "in the order of the signature"
    assert isinstance(answer["b"], bool)
    assert answer["name"] in ("worker 0", "worker 2")
    assert len(answer["changes"]) == 3


@pytest.mark.slow
def test_without_a_schema_the_reply_is_text_as_long_as_it_may_be(model: LocalModel) -> None:
    reply = model.complete(request(SHORT, max_tokens=7))
    assert (reply.usage.output_tokens, reply.finish_reason) == (7, "length")


@pytest.mark.slow
def test_any_json_object_will_do_where_only_that_is_asked(model: LocalModel) -> None:
    reply = model.complete(request(SHORT, response_format={"type": "json_object"}, max_tokens=300))
    assert reply.text.startswith("{")
    if reply.finish_reason == "stop":
        assert isinstance(json.loads(reply.text), dict)


@pytest.mark.slow
@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "question", ["ChooseLabor", "JudgeTaxPolicy", "SetTaxRates", "StandForOffice", "CastVote", "GovernAsLeader"]
)
def test_every_question_but_prose_is_answered_validly_at_the_first_attempt(file: Path, question: str) -> None:
    lineage = CallRecorder()
    lm = connect(Model(f"gguf:{file}"))
    answer = ask(module_of(question), inputs_of(question), lm=lm, adapter="json", lineage=lineage)
    assert len(lineage.attempts) == 1
    assert lineage.outcomes == [dict(answer)]


def test_a_stop_text_ends_the_reply(model: LocalModel) -> None:
    whole = model.complete(request(SHORT)).text or ""
    at = next(i for i, letter in enumerate(whole) if i > 3 and letter.isascii() and letter not in whole[:i])
    ended = model.complete(request(SHORT, stop=(whole[at],)))
    assert (ended.text, ended.finish_reason) == (whole[:at], "stop")


@pytest.mark.slow
def test_seeds_and_temperature_reach_the_sampler(model: LocalModel) -> None:
    assert len({model.complete(request(SHORT, seed=seed)).text for seed in range(4)}) == 4
    assert len({model.complete(request(SHORT, seed=seed, temperature=0.0)).text for seed in range(4)}) == 1
    assert len({model.complete(request(SHORT, seed=None)).text for _ in range(3)}) == 3, "no seed, no repetition"


# What it must not remember


def several() -> list[lm15.Request]:
    """Requests that share beginnings, repeat each other, and take up each other's replies."""
    long = SHORT * 9
    first = [request(long + end, seed=seed) for end in ("", " Now.", " Why?") for seed in (1, 2)]
    held = [request(long, schema=LABOR), request("Hours?", schema=LABOR), request("H", max_tokens=60)]
    return [*first, *held]


def kept(reply: lm15.Response) -> int:
    """How many tokens of its prompt were not computed again."""
    return reply.usage.cache_read_tokens or 0


@pytest.mark.slow
def test_a_reply_depends_on_nothing_that_was_asked_before(file: Path, model: LocalModel) -> None:
    asked = several()
    alone = [LocalModel(file).complete(one).text for one in asked]
    for step in (1, 2):
        for i in range(len(asked)):
            at = i * step % len(asked)
            assert model.complete(asked[at]).text == alone[at]
            assert model.complete(asked[at]).text == alone[at], "a prompt that is known to its last token"


def test_a_reply_that_becomes_part_of_a_prompt_is_computed_again(file: Path, model: LocalModel) -> None:
    for seed in range(4):
        first = request(SHORT, seed=seed)
        before = model.complete(first)
        said = before.text or ""
        repair = request(SHORT, said, "That could not be used. Again, please.", seed=seed)
        after_it = model.complete(repair)
        assert 0 < kept(after_it) < (before.usage.input_tokens or 0), "the question without its end, not the reply"
        alone = LocalModel(file)
        assert alone.complete(repair).text == after_it.text
        assert model.complete(first).text == said, "its prompt is all in the cache, and more"


@pytest.mark.slow
def test_one_prompt_token_is_never_computed_alone(file: Path, model: LocalModel) -> None:
    length = model.complete(request("x")).usage.input_tokens
    assert length is not None
    one_more = request("x" * (local.BATCH + 2 - length), seed=5)
    alone = LocalModel(file).complete(one_more)
    assert alone.usage.input_tokens == local.BATCH + 1
    assert kept(alone) > local.BATCH // 2, "it was computed once more, from before the last batch"
    model.complete(request("x" * 100, seed=5))
    assert model.complete(one_more).text == alone.text


@pytest.mark.slow
def test_what_prompts_share_is_computed_once(model: LocalModel) -> None:
    model.complete(request(SHORT * 9))
    second = model.complete(request(SHORT * 9 + " And now?"))
    assert 0.8 < kept(second) / (second.usage.input_tokens or 0) < 1


@pytest.mark.slow
def test_threads_wait_their_turn_and_get_what_they_would_get_alone(model: LocalModel) -> None:
    asked = several()
    alone = [model.complete(one).text for one in asked]
    got: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: model.complete(asked[i]).text})) for i in range(len(asked))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[i] for i in range(len(asked))] == alone


# What goes wrong


def test_a_prompt_that_is_too_long_says_by_how_much_and_affects_no_other(model: LocalModel) -> None:
    before = model.complete(request(SHORT)).text
    with pytest.raises(lm15.ContextLengthError, match=rf"the prompt has \d+ tokens and the model's context is {4096}"):
        model.complete(request("word " * 2000))
    assert model.complete(request(SHORT)).text == before


def test_a_model_with_a_smaller_context_keeps_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_model, "CONTEXT", 512)
    small = LocalModel(tiny_model.write(tmp_path / "small.gguf"))
    with pytest.raises(lm15.ContextLengthError, match="context is 512"):
        small.complete(request("word " * 200))


def test_a_schema_that_was_left_aside_is_an_error() -> None:
    said = {"choices": [{"finish_reason": "stop", "message": {"content": "forty"}}]}
    with pytest.raises(lm15.InvalidRequestError, match="JSON schema"):
        local.require_held({"grammar": "..."}, said)
    local.require_held({}, said)


def test_a_gguf_file_that_is_no_model_is_refused_when_it_is_loaded(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(lm15.ConfigurationError, match=r"cannot load broken\.gguf"):
        LocalModel(broken).complete(request(SHORT))


def test_the_server_of_a_local_model_answers_no_one_else(file: Path) -> None:
    server = local.load(file)
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}).encode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server.listening_address}/v1/chat/completions", data=body, timeout=10)


def test_nothing_is_printed(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LocalModel(file).complete(request(SHORT))
    assert capfd.readouterr() == ("", "")


# As an engine


def test_copies_share_the_one_model_in_memory(file: Path) -> None:
    lm = connect(Model(f"gguf:{file}"))
    assert lm.copy(temperature=1.0).engine.inner.model is lm.engine.inner.model is model_of(file.resolve())
    for engine in (lm.engine.inner, AsyncLocalEngine(file)):
        assert copy.copy(engine) is engine
        assert copy.deepcopy(engine) is engine


def test_the_event_loop_continues_while_the_model_computes(file: Path) -> None:
    async def ticks() -> int:
        answer = asyncio.ensure_future(AsyncLocalEngine(file).complete(request(SHORT * 9, max_tokens=200)))
        count = 0
        while not answer.done():
            await asyncio.sleep(0.001)
            count += 1
        return count

    assert asyncio.run(ticks()) >= 5


@pytest.mark.slow
def test_sync_and_async_say_the_same_on_any_loop(file: Path) -> None:
    asked = several()
    said = [LocalEngine(file).complete(one).text for one in asked]
    engine = AsyncLocalEngine(file)

    async def together() -> list[str | None]:
        return [reply.text for reply in await asyncio.gather(*map(engine.complete, asked))]

    assert asyncio.run(together()) == said
    assert asyncio.run(together()) == said


def test_waiting_for_ones_turn_is_neither_latency_nor_a_timeout(file: Path) -> None:
    lm = connect(Model(f"gguf:{file}", timeout=1e-6, retries=0))
    lineages = [CallRecorder() for _ in range(6)]
    question = replace(request(SHORT), model=lm.model)

    async def all_at_once() -> None:
        async def one(lineage: CallRecorder) -> None:
            with entered(CallContext.recorded_by(lineage)):
                await lm.acall(question)

        await asyncio.gather(*map(one, lineages))

    start = time.perf_counter()
    asyncio.run(all_at_once())
    attempts = [lineage.attempts[0] for lineage in lineages]
    assert all(attempt.error is None for attempt in attempts)
    assert sum(attempt.latency_ms for attempt in attempts) <= (time.perf_counter() - start) * 1000


def test_a_local_model_is_free() -> None:
    count = lm15.Usage(input_tokens=10**6, output_tokens=10**6)
    assert cost_usd("smollm2", count) == cost_usd("gguf:a.gguf", count) == 0


def test_with_a_server_the_name_is_the_servers() -> None:
    lm = connect(Model("smollm2", base_url="http://127.0.0.1:9/v1"))
    assert lm.engine.inner.endpoint.route == "openai/smollm2"
