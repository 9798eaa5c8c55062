import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import parametrize_with_checks

from druppel.model import Calibration, LabelSpace, MultilabelLogistic


@parametrize_with_checks([MultilabelLogistic()])
@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
def test_follows_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.random((80, 5)))
    Y = (X.toarray()[:, :3] > 0.5).astype(int)
    return X, Y


def test_labels_are_learned_independently(data):
    X, Y = data
    together = MultilabelLogistic(C=100).fit(X, Y)
    for j in range(Y.shape[1]):
        alone = MultilabelLogistic(C=100).fit_indicator(X, Y[:, [j]])
        assert np.allclose(alone.predict_proba(X)[:, 0], together.predict_proba(X)[:, j])
    assert (together.predict(X) == Y).mean() > 0.95


def test_a_rare_label_gets_its_base_rate(data):
    X, Y = data
    Y[:, 1] = 0
    Y[0, 1] = 1
    probability = MultilabelLogistic(min_positives=2).fit(X, Y).predict_proba(X)[:, 1]
    assert np.allclose(probability, 1.5 / 81)


def test_the_seed_decides_the_weights(data):
    X, Y = data
    first, second = (MultilabelLogistic(random_state=3).fit(X, Y) for _ in range(2))
    assert first.coef_.tobytes() == second.coef_.tobytes()


def test_label_space_columns_match_their_names(tiny_taxonomy):
    space = LabelSpace.of(tiny_taxonomy)
    names = space.names
    assert names[space.leaf(1, 0)] == "leaf:op_antwoord:neg"
    assert names[space.category(1, 2)] == "category:smaak:neu"
    assert names[space.slices["signal"]] == ("signal:weg",)
    assert space.category_of_leaf == (0, 0, 1)


def test_calibration_keeps_the_order(tiny_taxonomy):
    space = LabelSpace.of(tiny_taxonomy)
    raw = np.linspace(0, 1, 7)[:, None] * np.ones(len(space.names))
    calibration = Calibration(
        slope=dict.fromkeys(space.slices, 2.0), intercept=dict.fromkeys(space.slices, -1.0)
    )
    calibrated = calibration.apply(raw, space)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert (np.diff(calibrated, axis=0) > 0).all()
    assert np.allclose(Calibration().apply(raw, space), raw, atol=1e-5)
