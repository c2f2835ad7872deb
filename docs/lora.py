# /// script
# requires-python = ">=3.11"
# dependencies = ["gguf>=0.17", "jax>=0.5", "optax>=0.2.4", "tokenizers>=0.20", "tqdm>=4"]
# ///
"""Fine-tune a small llama model (a GGUF file) on exported traces, on the CPU, by low-rank adaptation (LoRA).

    llm-economist export all --format sft --explore --to sft
    uv run docs/lora.py SmolLM2-135M-Instruct.Q4_1.gguf sft/train.jsonl -o tuned.gguf --question ChooseLabor
    llm-economist validate --llm gguf:tuned.gguf

Hu et al. (2022, ICLR), "LoRA": each adapted matrix W becomes W + (alpha / rank) B A, with A (rank, in), B (out, rank);
only A and B are trained, here those of the queries and values of all layers. The loss is the cross-entropy of the reply
only. The tuned model is written with 16-bit weights and needs no adapter file. It reads models of the architecture
`llama` with a byte-level BPE vocabulary and the ChatML template, as SmolLM2 has.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm

Params = dict[str, Any]
ADAPTED = ("attn_q", "attn_v")
PER_LAYER = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)


@dataclass(frozen=True)
class Shape:
    """Numbers of layers, heads and heads of keys and values; the base of the rotary embedding; epsilon of the norms."""

    layers: int
    heads: int
    kv_heads: int
    rope_base: float
    epsilon: float


def fail(text: str) -> NoReturn:
    """End with one line and exit code 2."""
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(2)


# -- the model file ---------------------------------------------------------------------------------------------


def opened(file: Path) -> gguf.GGUFReader:
    """The model file, read as it is needed."""
    try:
        return gguf.GGUFReader(file)
    except (OSError, ValueError, IndexError) as error:
        fail(f"{file} is no readable GGUF file ({error}); name the model file, e.g. SmolLM2-135M-Instruct.Q4_1.gguf")


def field(reader: gguf.GGUFReader, name: str, default: Any = None) -> Any:
    """A value of the file's header."""
    found = reader.get_field(name)
    if found is None:
        if default is None:
            fail(f"the model file has no {name}; expected a chat model of the architecture llama")
        return default
    return found.contents()


def shape_of(reader: gguf.GGUFReader) -> Shape:
    if field(reader, "general.architecture") != "llama":
        fail(f"architecture {field(reader, 'general.architecture')!r}; expected llama")
    heads = field(reader, "llama.attention.head_count")
    return Shape(
        layers=field(reader, "llama.block_count"),
        heads=heads,
        kv_heads=field(reader, "llama.attention.head_count_kv", heads),
        rope_base=field(reader, "llama.rope.freq_base", 10_000.0),
        epsilon=field(reader, "llama.attention.layer_norm_rms_epsilon"),
    )


def weights_of(reader: gguf.GGUFReader, shape: Shape) -> Params:
    """All weights as 32-bit floats; those of the layers stacked, (layers, out, in)."""
    flat = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    stacked = {
        name: jnp.asarray(np.stack([flat[f"blk.{i}.{name}.weight"] for i in range(shape.layers)])) for name in PER_LAYER
    }
    embedding = jnp.asarray(flat["token_embd.weight"])
    output = jnp.asarray(flat["output.weight"]) if "output.weight" in flat else embedding
    return {
        "embedding": embedding,
        "norm": jnp.asarray(flat["output_norm.weight"]),
        "output": output,
        "layers": stacked,
    }


def write_tuned(reader: gguf.GGUFReader, target: Path, deltas: dict[str, np.ndarray]) -> None:
    """Write the model with `deltas` added to its matrices, by name. If it fails, `target` does not exist."""
    part = target.with_name(f"{target.name}.part")
    writer = gguf.GGUFWriter(str(part), "llama")
    for name, entry in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if name == "general.file_type":
            writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
            continue
        kind = entry.types[0]
        inner = entry.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, entry.contents(), kind, inner)
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weight = weight + deltas.get(tensor.name, 0)
        writer.add_tensor(tensor.name, weight.astype(np.float32 if weight.ndim == 1 else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(target)


# -- text -------------------------------------------------------------------------------------------------------


def tokenizer_of(reader: gguf.GGUFReader) -> Tokenizer:
    """The file's byte-level BPE, with single digits as in SmolLM2. Special tokens are matched first."""
    if field(reader, "tokenizer.ggml.model") != "gpt2":
        fail(f"vocabulary {field(reader, 'tokenizer.ggml.model')!r}; expected byte-level BPE (gpt2)")
    tokens, kinds = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def rows_of(files: list[Path], question: str | None) -> list[list[dict[str, str]]]:
    """The conversations of the exported files, all or those of one question."""
    rows = [row for file in files for row in lines_of(file)]
    found = [row["messages"] for row in rows if question in (None, row.get("question"))]
    if not found:
        asked = sorted({str(row.get("question")) for row in rows})
        fail(f"no conversation on {question}; the files have {', '.join(asked) or 'no row'}")
    return found


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of `export --format sft`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read ({error}); name a file that `llm-economist export --format sft` wrote")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not all(isinstance(one[key], str) for one in row["messages"] for key in ("role", "content")):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            fail(f"{file}, line {number}: expected an object with `messages` of role and content, as in format sft")
        yield row


def tokens_of(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> tuple[list[int], int]:
    """The tokens of a conversation in ChatML, and the number of those before the reply."""
    told = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages[:-1])
    prompt = tokenizer.encode(f"{told}<|im_start|>assistant\n", add_special_tokens=False).ids
    reply = tokenizer.encode(f"{messages[-1]['content']}<|im_end|>", add_special_tokens=False).ids
    return prompt + reply, len(prompt)


# -- the network ------------------------------------------------------------------------------------------------


def norm(x: jax.Array, weight: jax.Array, epsilon: float) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotated(x: jax.Array, base: float) -> jax.Array:
    """Rotary position embedding (Su et al. 2021) of pairs of neighbors, as GGUF files of llama order them.

    x: (positions, heads, width)."""
    positions, _, width = x.shape
    angle = jnp.arange(positions)[:, None] * base ** (-jnp.arange(0, width, 2) / width)
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def layer(shape: Shape, scale: float, x: jax.Array, weights: Params) -> jax.Array:
    """One block: attention and feed-forward network. x: (positions, width)."""

    def linear(name: str, it: jax.Array) -> jax.Array:
        plain = it @ weights[name].T
        adapter = weights["lora"].get(name)
        return plain if adapter is None else plain + scale * (it @ adapter["a"].T) @ adapter["b"].T

    positions = x.shape[0]
    it = norm(x, weights["attn_norm"], shape.epsilon)
    q = rotated(linear("attn_q", it).reshape(positions, shape.heads, -1), shape.rope_base)
    k = rotated(linear("attn_k", it).reshape(positions, shape.kv_heads, -1), shape.rope_base)
    v = linear("attn_v", it).reshape(positions, shape.kv_heads, -1)
    groups = shape.heads // shape.kv_heads
    k, v = jnp.repeat(k, groups, axis=1), jnp.repeat(v, groups, axis=1)
    scores = jnp.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones((positions, positions), bool))
    mixed = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)), v)
    x = x + linear("attn_output", mixed.reshape(positions, -1))
    it = norm(x, weights["ffn_norm"], shape.epsilon)
    return x + linear("ffn_down", jax.nn.silu(linear("ffn_gate", it)) * linear("ffn_up", it))


def hidden(shape: Shape, scale: float, params: Params, lora: Params, tokens: jax.Array) -> jax.Array:
    """The last hidden state at each position: (positions, width)."""

    @jax.checkpoint
    def step(x: jax.Array, weights: Params) -> tuple[jax.Array, None]:
        return layer(shape, scale, x, weights), None

    x, _ = jax.lax.scan(step, params["embedding"][tokens], {**params["layers"], "lora": lora})
    return norm(x, params["norm"], shape.epsilon)


def logits(shape: Shape, scale: float, params: Params, lora: Params, tokens: jax.Array) -> jax.Array:
    """The scores of the next token at each position: (positions, vocabulary)."""
    return hidden(shape, scale, params, lora, tokens) @ params["output"].T


REPLY = 32
"""Most tokens of a reply whose loss counts. Scores of the whole vocabulary are computed only there."""


def loss(
    shape: Shape, scale: float, lora: Params, params: Params, tokens: jax.Array, start: jax.Array, length: jax.Array
) -> jax.Array:
    """Mean cross-entropy of the tokens from `start` on, of a conversation of `length` tokens, padded behind."""
    states = hidden(shape, scale, params, lora, tokens)
    asked = jnp.minimum(start - 1 + jnp.arange(REPLY), tokens.shape[0] - 2)
    counted = asked < length - 1
    guessed = jax.nn.log_softmax(states[asked] @ params["output"].T)
    said = jnp.take_along_axis(guessed, tokens[asked + 1][:, None], axis=1)[:, 0]
    return -jnp.sum(said * counted) / jnp.sum(counted)


# -- training ---------------------------------------------------------------------------------------------------


def adapters(params: Params, rank: int, seed: int) -> Params:
    """A drawn at random, B zero: the model begins as it was."""
    keys = iter(jax.random.split(jax.random.key(seed), len(ADAPTED)))
    made = {}
    for name in ADAPTED:
        layers, out, width = params["layers"][name].shape
        a = jax.random.normal(next(keys), (layers, rank, width)) / np.sqrt(width)
        made[name] = {"a": a, "b": jnp.zeros((layers, out, rank))}
    return made


def padded(tokens: list[int], multiple: int = 64) -> np.ndarray:
    """With zeros behind, to a length that is a multiple, so that few lengths are compiled."""
    filled = np.zeros(-(-len(tokens) // multiple) * multiple, np.int32)
    filled[: len(tokens)] = tokens
    return filled


def train(args: argparse.Namespace, shape: Shape, params: Params, examples: list[tuple[list[int], int]]) -> Params:
    """The adapters after `args.epochs` passes over the examples, in a random order, one at a time."""
    lora, scale = adapters(params, args.rank, args.seed), args.alpha / args.rank
    steps = args.epochs * len(examples)
    rate = optax.warmup_cosine_decay_schedule(0, args.rate, max(1, steps // 20), steps)
    optimizer = optax.MultiSteps(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)), args.batch)
    state = optimizer.init(lora)
    gradient = jax.jit(jax.value_and_grad(partial(loss, shape, scale)))
    update = jax.jit(lambda grads, state, lora: optimizer.update(grads, state, lora))
    rng, recent = random.Random(args.seed), []
    with tqdm(total=steps, unit="conversation") as bar:
        for _ in range(args.epochs):
            for tokens, start in rng.sample(examples, len(examples)):
                value, grads = gradient(lora, params, padded(tokens), start, len(tokens))
                updates, state = update(grads, state, lora)
                lora = optax.apply_updates(lora, updates)
                recent = [*recent[-49:], float(value)]
                bar.update()
                bar.set_postfix(loss=f"{np.mean(recent):.3f}")
    return lora


def deltas_of(lora: Params, scale: float) -> dict[str, np.ndarray]:
    """What the adapters add to each matrix, by its name in the file."""
    return {
        f"blk.{i}.{name}.weight": scale * np.asarray(pair["b"][i] @ pair["a"][i])
        for name, pair in lora.items()
        for i in range(len(pair["a"]))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="GGUF file of the model")
    parser.add_argument("data", type=Path, nargs="+", help="files of `llm-economist export --format sft`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="GGUF file to write")
    parser.add_argument("--question", help="only conversations on this question, e.g. ChooseLabor")
    parser.add_argument("--most", type=int, help="use at most so many conversations, drawn at random")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="conversations for each step of the optimizer")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16.0)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.output.exists():
        fail(f"{args.output} exists; name another file with -o, or remove it")
    reader = opened(args.model)
    shape, tokenizer = shape_of(reader), tokenizer_of(reader)
    rows = rows_of(args.data, args.question)
    if args.most is not None:
        rows = random.Random(args.seed).sample(rows, min(args.most, len(rows)))
    examples = [tokens_of(tokenizer, messages) for messages in rows]
    lengths = [len(tokens) for tokens, _ in examples]
    print(f"{len(examples)} conversations of {min(lengths)} to {max(lengths)} tokens; {shape}", file=sys.stderr)
    lora = train(args, shape, weights_of(reader, shape), examples)
    write_tuned(reader, args.output, deltas_of(lora, args.alpha / args.rank))
    print(args.output)


if __name__ == "__main__":
    main()
