"""A model of random weights, a GGUF file of 75 KB: a small llama, one token a byte, Q4_1 as in SmolLM2.

What it says means nothing, but how it is computed, sampled and held to a schema is what happens with a real one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, CONTEXT = 192, 128, 3, 3, 1, 8192
F32, Q4_1 = 0, 3
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write(file: Path, *, seed: int = 0) -> Path:
    """Write the model of `seed` to `file`."""
    tensors = list(_tensors(np.random.default_rng(seed)))
    keys = list(_keys())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    offset = 0
    for name, shape, kind, data in tensors:
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += len(_padded(data))
    file.write_bytes(_padded(head) + b"".join(_padded(data) for *_, data in tensors))
    return file


def vocabulary() -> list[str]:
    """The characters that stand for the 256 bytes in GPT-2's scheme, then one merge and the special tokens."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [*(chr(b) if b in visible else chr(next(hidden)) for b in range(256)), "th", *SPECIAL]


def _keys() -> Iterator[bytes]:
    words = vocabulary()
    for name, number in {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "rope.dimension_count": WIDTH // HEADS,
    }.items():
        yield _text(f"llama.{name}") + struct.pack("<II", 4, number)
    yield _text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)
    for name, text in {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
    }.items():
        yield _text(name) + struct.pack("<I", 8) + _text(text)
    for name, texts in {"tokens": words, "merges": ["t h"]}.items():
        yield _text(f"tokenizer.ggml.{name}") + struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(map(_text, texts))
    kinds = [3 if word in SPECIAL else 1 for word in words]
    yield _text("tokenizer.ggml.token_type") + struct.pack(f"<IIQ{len(kinds)}i", 9, 5, len(kinds), *kinds)
    for name, word in {"bos": "<|im_start|>", "eos": "<|im_end|>"}.items():
        yield _text(f"tokenizer.ggml.{name}_token_id") + struct.pack("<II", 4, words.index(word))


def _tensors(rng: np.random.Generator) -> Iterator[tuple[str, tuple[int, ...], int, bytes]]:
    kv = WIDTH // HEADS * KV_HEADS
    yield "token_embd.weight", (WIDTH, len(vocabulary())), Q4_1, _random(rng, WIDTH * len(vocabulary()), 1.0)
    yield "output.weight", (WIDTH, len(vocabulary())), Q4_1, _random(rng, WIDTH * len(vocabulary()), 0.3)
    yield "output_norm.weight", (WIDTH,), F32, np.ones(WIDTH, "<f4").tobytes()
    for i in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{norm}.weight", (WIDTH,), F32, np.ones(WIDTH, "<f4").tobytes()
        for name, into, out in [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, kv),
            ("attn_v", WIDTH, kv),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", WIDTH, HIDDEN),
            ("ffn_up", WIDTH, HIDDEN),
            ("ffn_down", HIDDEN, WIDTH),
        ]:
            yield f"blk.{i}.{name}.weight", (into, out), Q4_1, _random(rng, into * out, 2.0 / into**0.5)


def _random(rng: np.random.Generator, size: int, reach: float) -> bytes:
    """`size` weights between -reach and reach: blocks of 32, each a scale, a minimum and 16 bytes of two weights."""
    blocks = size // 32
    scales = np.tile(np.array([2 * reach / 15, -reach], "<f2"), (blocks, 1)).view(np.uint8).reshape(blocks, 4)
    return np.hstack([scales, rng.integers(0, 256, (blocks, 16), dtype=np.uint8)]).tobytes()


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 32)
