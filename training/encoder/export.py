"""Write a fine-tuned network as the two plain files that `druppel` reads.

``encoder.onnx`` maps the piece numbers of one text to a vector a piece, with 8-bit weights;
``pieces.model`` is the vocabulary, in SentencePiece's own format.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is first imported

import numpy as np
import onnx
import sentencepiece
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentencepiece import sentencepiece_model_pb2 as pb
from transformers import BertModel

from druppel.store import NETWORK

_CONTROL = ("<s>", "<pad>", "</s>")
_UNKNOWN = "<unk>"


def vocabulary(pieces: list[str], scores: dict[str, float]) -> bytes:
    """Serialise a Unigram vocabulary; normalisation is NFKC with white space folded.

    Parameters
    ----------
    pieces : list of str
        In the order of the network's embeddings; the first four are special.
    scores : dict of str to float
        Log-probability of each piece.
    """
    model = pb.ModelProto()
    model.ParseFromString(_any_model())  # for the tables of NFKC
    del model.pieces[:]
    for piece in pieces:
        kind = (
            pb.ModelProto.SentencePiece.CONTROL
            if piece in _CONTROL
            else pb.ModelProto.SentencePiece.UNKNOWN
            if piece == _UNKNOWN
            else pb.ModelProto.SentencePiece.NORMAL
        )
        score = 0.0 if kind != pb.ModelProto.SentencePiece.NORMAL else scores[piece]
        model.pieces.add(piece=piece, score=score, type=kind)
    spec = model.trainer_spec
    spec.Clear()
    spec.model_type = pb.TrainerSpec.UNIGRAM
    spec.vocab_size = len(pieces)
    spec.bos_id, spec.pad_id, spec.eos_id, spec.unk_id = (
        pieces.index(piece) for piece in ("<s>", "<pad>", "</s>", _UNKNOWN)
    )
    return model.SerializeToString()


def _any_model() -> bytes:
    """Train the smallest vocabulary that SentencePiece makes."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abc"] * 20),
        model_writer=made,
        vocab_size=10,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    return made.getvalue()


class _OneText(torch.nn.Module):
    """The network without padding: one text at a time, so nothing needs a mask.

    With several texts in one run, the scale of the 8-bit activations, and with it a text's
    vectors, would depend on the other texts.
    """

    def __init__(self, network: BertModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        return self.network(input_ids=pieces).last_hidden_state[0]


def export(network: BertModel, folder: Path) -> Path:
    """Write ``encoder.onnx`` with 8-bit weights, and return its path."""
    network = network.eval().float()
    network.config._attn_implementation = "eager"
    target = folder / NETWORK
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        torch.onnx.export(
            _OneText(network).eval(),
            (torch.tensor([[0, 5, 6, 7, 2]]),),
            str(plain),
            input_names=["pieces"],
            output_names=["vectors"],
            dynamic_axes={"pieces": {1: "n_pieces"}, "vectors": {0: "n_pieces"}},
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(
            plain, target, weight_type=QuantType.QInt8, per_channel=True, reduce_range=False
        )
    model = onnx.load(str(target))
    model.producer_name, model.producer_version = "druppel", ""
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, str(target))
    return target


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the rows of two matrices."""
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
