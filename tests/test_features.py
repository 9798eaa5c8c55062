import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import (
    check_estimator_repr,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from druppel.features import Batch, TextFeatures, normalise, tokenise
from druppel.segment import Segmenter

SEGMENTER = Segmenter()
TEXTS = [
    "De monteur kwam niet, maar de mevrouw was aardig.",
    "Drie keer gebeld. Niemand neemt op!",
    "niets",
    "",
    "😡😡 wat een service",
]
QUESTIONS = [None, None, "Wat kan er beter?", "Wat kan er beter?", None]


@pytest.fixture(scope="module")
def batch():
    return Batch.cut(TEXTS, SEGMENTER, QUESTIONS)


@pytest.fixture(scope="module")
def fitted(batch):
    return TextFeatures(min_texts=1).fit(batch)


@pytest.mark.parametrize(
    "check",
    [
        check_no_attributes_set_in_init,
        check_set_params,
        check_parameters_default_constructible,
        check_estimator_repr,
    ],
)
def test_follows_scikit_learn(check):
    check("TextFeatures", TextFeatures())


def test_shapes_and_names_agree(batch, fitted):
    matrices = fitted.transform(batch)
    n_features = len(fitted.get_feature_names_out())
    assert matrices.texts.shape == (len(TEXTS), n_features)
    assert matrices.clauses.shape == (len(batch.clauses), n_features)


def test_a_text_of_one_clause_has_the_features_of_its_clause(fitted):
    matrices = fitted.transform(Batch.cut(["niemand neemt op"], SEGMENTER))
    assert np.allclose(matrices.texts.toarray(), matrices.clauses.toarray())


def test_rows_do_not_depend_on_their_company(batch, fitted):
    together = fitted.transform(batch).texts.toarray()
    for i, (text, question) in enumerate(zip(TEXTS, QUESTIONS, strict=True)):
        alone = fitted.transform(Batch.cut([text], SEGMENTER, [question])).texts.toarray()
        assert np.array_equal(alone[0], together[i])


def test_the_question_changes_the_features_of_a_short_answer(fitted):
    asked = fitted.transform(Batch.cut(["niets"], SEGMENTER, ["Wat kan er beter?"])).texts
    plain = fitted.transform(Batch.cut(["niets"], SEGMENTER)).texts
    assert (asked != plain).nnz > 0


def test_the_score_changes_the_features(batch):
    fitted = TextFeatures(min_texts=1).fit(Batch.cut(["niets", "goed"], SEGMENTER, None, [2, 9]))
    scored = fitted.transform(Batch.cut(["niets"], SEGMENTER, None, [1.5])).texts
    plain = fitted.transform(Batch.cut(["niets"], SEGMENTER)).texts
    assert (scored != plain).nnz == 1


def test_known_share(fitted):
    known = fitted.transform(Batch.cut(["niemand xyzzy", "", "niemand"], SEGMENTER)).known
    assert known.tolist() == [0.5, 1.0, 1.0]


def test_refuses_to_transform_before_fit(batch):
    with pytest.raises(NotFittedError):
        TextFeatures().transform(batch)


def test_fitting_twice_gives_the_same_and_clone_forgets(batch, fitted):
    again = clone(fitted)
    assert not hasattr(again, "word_idf_")
    assert again.fit(batch).vocabularies() == fitted.vocabularies()


def test_restore_gives_the_same_matrix(batch, fitted):
    idf = {"words": fitted.word_idf_.idf_, "chars": fitted.char_idf_.idf_}
    restored = clone(fitted).restore(fitted.vocabularies(), idf)
    assert (restored.transform(batch).texts != fitted.transform(batch).texts).nnz == 0


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ÉÉN keer", "een keer"),
        ("zie https://x.nl/a?b of mail a@b.nl", "zie urllink of mail mailadres"),
        ("@bedrijf 12,50 en 3 weken", "@ 0000 en 0 weken"),
        ("heeeeel  lang", "heel lang"),
    ],
)
def test_normalise(text, folded):
    assert normalise(text) == folded


@given(st.text(max_size=100))
def test_normalise_and_tokenise_take_any_text(text):
    folded = normalise(text)
    assert "\n" not in folded
    assert all(token for token in tokenise(folded))
