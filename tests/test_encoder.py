import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT

from druppel.encoder import Encoder
from druppel.features import Batch
from druppel.segment import Segmenter
from druppel.store import load_encoder

SEGMENTER = Segmenter()


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(ROOT / "models" / "druppel-nl")


def cut(*texts, question=None, score=None):
    n = len(texts)
    return Batch.cut(texts, SEGMENTER, [question] * n, [score] * n)


def test_shapes_and_unit_length(encoder):
    batch = cut("De monteur kwam niet, maar de mevrouw was aardig.", "", "niets")
    vectors = encoder.encode(batch)
    assert vectors.texts.shape == (3, encoder.width)
    assert vectors.clauses.shape == (len(batch.clauses), encoder.width)
    for rows in (vectors.texts, vectors.clauses):
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode(cut()).texts.shape == (0, encoder.width)


def test_near_meanings_are_nearer_than_far_ones(encoder):
    late, also_late, friendly = encoder.encode(
        cut(
            "Ik wacht al weken op mijn bestelling.",
            "Het pakket is nog steeds niet aangekomen.",
            "De verkoopster was heel aardig en behulpzaam.",
        )
    ).texts
    assert late @ also_late > late @ friendly


def test_a_clause_is_read_in_its_context(encoder):
    alone = encoder.encode(cut("Dat duurde drie weken.")).clauses[-1]
    batch = cut("Ik vroeg om een nieuwe factuur. Dat duurde drie weken.")
    assert batch.clauses[-1] == "Dat duurde drie weken."
    assert not np.allclose(alone, encoder.encode(batch).clauses[-1], atol=0.01)


@pytest.mark.parametrize("context", [{"question": "Wat kan er beter?"}, {"score": 2.0}])
def test_question_and_score_change_the_vectors(encoder, context):
    plain = encoder.encode(cut("De telefoon")).texts
    assert not np.allclose(plain, encoder.encode(cut("De telefoon", **context)).texts, atol=1e-3)


def test_a_long_question_does_not_silence_the_score(encoder):
    question = "Wilt u zo uitgebreid mogelijk vertellen wat u van onze dienst vond? " * 6
    low, high = (
        encoder.encode(cut("Prima", question=question, score=s)).texts for s in (1.0, 10.0)
    )
    assert not np.allclose(low, high, atol=1e-3)


def test_neither_threads_nor_company_change_a_bit(encoder):
    texts = [f"De {i}e monteur kwam niet, maar de mevrouw was aardig. Toch?" for i in range(30)]
    threaded = Encoder(encoder.network, encoder.pieces, n_threads=4).encode(cut(*texts))
    single = Encoder(encoder.network, encoder.pieces, n_threads=1)
    alone = [single.encode(cut(text)) for text in texts]
    assert np.array_equal(threaded.texts, np.vstack([one.texts for one in alone]))
    assert np.array_equal(threaded.clauses, np.vstack([one.clauses for one in alone]))


def test_nothing_is_written_or_sent_at_home(tmp_path):
    """ONNX Runtime would keep a device id and report to its maker."""
    code = (
        "from pathlib import Path; from druppel.features import Batch;"
        "from druppel.segment import Segmenter; from druppel.store import load_encoder;"
        f"encoder = load_encoder({str(ROOT / 'models' / 'druppel-nl')!r});"
        "encoder.encode(Batch.cut(['niemand neemt op'], Segmenter()))"
    )
    drop = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
    environment = {k: v for k, v in os.environ.items() if k not in drop}
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env={**environment, **home}, check=True)
    assert [path for path in tmp_path.rglob("*") if "onnx" in path.name.lower()] == []


def test_a_text_longer_than_a_window(encoder):
    batch = cut("De trein was te laat en de conducteur was onbeleefd. " * 60)
    vectors = encoder.encode(batch)
    assert vectors.clauses.shape[0] == len(batch.clauses) > 50
    assert np.allclose(np.linalg.norm(vectors.clauses, axis=1), 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80), question=st.none() | st.text(max_size=20))
def test_any_string_is_encoded(encoder, text, question):
    vectors = encoder.encode(cut(text, question=question))
    assert np.isfinite(vectors.texts).all()
    assert np.isfinite(vectors.clauses).all()


def test_half_a_surrogate_pair_and_a_null(encoder):
    assert np.isfinite(encoder.encode(cut("kapot \ud83d en \x00 stuk")).texts).all()


@pytest.mark.parametrize("part", [0, 1])
def test_damaged_parts_are_told_without_their_content(encoder, part):
    parts = [encoder.network, encoder.pieces]
    parts[part] = b"geen model"
    with pytest.raises(ValueError, match="no encoder"):
        Encoder(*parts)
