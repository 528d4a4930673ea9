"""The estimator is one of scikit-learn's, and trains what the loop written by hand trains."""

import warnings
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from problems import background_flips, by_hand, largest_difference
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from l2rw_core.datasets import BatchStream
from l2rw_core.ledger import suspects
from l2rw_core.loops.sklearn import ReweightedClassifier
from l2rw_core.models import Mlp


@parametrize_with_checks([ReweightedClassifier(lr=1e-2, epochs=20, random_state=0)])
def test_it_is_an_estimator(estimator, check):
    """Every check that scikit-learn has for a classifier; no failure is expected."""
    check(estimator)


def arrays():
    """X, y, the clean pair by name, and the truth."""
    (x, y), (cx, cy), truth = background_flips()
    names = np.array(["left", "right"])
    return x.numpy(), names[y], {"X_clean": cx.numpy(), "y_clean": names[cy]}, names[truth]


def classifier(**options):
    return ReweightedClassifier(**{"lr": 1e-2, "epochs": 10, "clean_batch_size": 8, "random_state": 0} | options)


@pytest.mark.parametrize("warmup", [0, 7])
def test_parameters_are_those_of_the_loop_by_hand(warmup):
    X, y, clean, _ = arrays()
    found = classifier(batch_size=64, epochs=3, warmup=warmup).fit(X, y, **clean)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    torch.manual_seed(seed)
    expected = Mlp([2, 64, 64, 2]).double()
    (x, y), (cx, cy), _ = background_flips()
    draws = [(BatchStream(400, 64, seed).indices(k), BatchStream(20, 8, seed + 1).indices(k)) for k in range(21)]
    batches, clean_batches = [(x[i], y[i]) for i, _ in draws], [(cx[j], cy[j]) for _, j in draws]
    by_hand(expected, torch.optim.Adam(expected.parameters(), 1e-2), batches, clean_batches, warmup=warmup)
    assert largest_difference(found.model_, expected) < 1e-10


def test_it_beats_plain_training_where_the_clean_set_helps():
    X, y, clean, truth = arrays()
    plain = classifier(epochs=20).fit(X, y).score(X, truth)
    assert classifier(epochs=20).fit(X, y, **clean).score(X, truth) > plain + 0.2


def test_the_ledger_ranks_the_labels():
    X, y, clean, truth = arrays()
    ledger = classifier().fit(X, y, **clean).ledger_
    score = suspects(ledger, y).sort_index()["label_score"]
    assert roc_auc_score(y == truth, score) > 0.9
    assert classifier().fit(X, y).ledger_ is None


def test_any_module_and_optimizer_will_do():
    class Line(torch.nn.Linear):
        pass

    X, y, clean, truth = arrays()
    made = classifier(build_model=Line, optimizer=torch.optim.SGD, lr=0.1).fit(X.astype(np.float32), y, **clean)
    assert isinstance(made.model_, Line)
    assert made.predict_proba(X).dtype == np.float32
    assert made.score(X, truth) > 0.9


def test_the_random_state_of_torch_is_left_alone():
    X, y, clean, _ = arrays()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = classifier(epochs=1).fit(X, y, **clean).predict_proba(X)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert np.array_equal(first, classifier(epochs=1).fit(X, y, **clean).predict_proba(X))


def test_in_a_pipeline_the_clean_set_is_transformed_like_the_training_set():
    X, y, clean, _ = arrays()
    shifted = clean | {"X_clean": 100 * clean["X_clean"] + 7}
    scaler = StandardScaler().fit(100 * X + 7)
    expected = classifier(epochs=2).fit(
        scaler.transform(100 * X + 7), y, X_clean=scaler.transform(shifted["X_clean"]), y_clean=clean["y_clean"]
    )
    with sklearn.config_context(enable_metadata_routing=True):
        last = classifier(epochs=2).set_fit_request(X_clean=True, y_clean=True)
        pipeline = make_pipeline(StandardScaler(), last, transform_input=["X_clean"])
        pipeline.fit(100 * X + 7, y, **shifted)
    assert np.array_equal(pipeline.predict_proba(100 * X + 7), expected.predict_proba(scaler.transform(100 * X + 7)))


def test_a_search_hands_the_clean_set_on():
    X, y, clean, truth = arrays()
    search = GridSearchCV(classifier(), {"lr": [1e-6, 1e-2]}, cv=2, scoring=lambda e, X_, y_: e.score(X, truth))
    assert search.fit(X, y, **clean).best_params_ == {"lr": 1e-2}
    assert search.best_estimator_.ledger_.seen.min() > 0


def without(names):
    return {key: value for key, value in arrays()[2].items() if key not in names}


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        (without(["y_clean"]), "give both X_clean and y_clean"),
        (without(["X_clean"]), "give both X_clean and y_clean"),
        (arrays()[2] | {"y_clean": np.array(["up"] * 20)}, "the clean label up is not among the labels of y"),
        (arrays()[2] | {"X_clean": np.ones((20, 3))}, "X has 3 features, but ReweightedClassifier is expecting 2"),
        ({"X_clean": np.ones((0, 2)), "y_clean": []}, "Found array with 0 sample"),
        (arrays()[2] | {"X_clean": np.full((20, 2), np.nan)}, "contains NaN"),
    ],
)
def test_a_wrong_clean_set_is_refused(clean, message):
    X, y, *_ = arrays()
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, **clean)


def test_training_for_no_epoch_is_refused():
    X, y, clean, _ = arrays()
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        classifier(epochs=0).fit(X, y, **clean)


def test_the_check_can_be_chosen():
    X, y, clean, _ = arrays()
    every, first = (classifier(epochs=1, check=check).fit(X, y, **clean) for check in ("every", "first"))
    assert np.array_equal(every.predict_proba(X), first.predict_proba(X))
    with pytest.raises(ValueError, match="check must be one of 'every', 'first'"):
        classifier(check="never").fit(X, y, **clean)


class Twice(torch.nn.Linear):
    def forward(self, x):
        return (super().forward(x),) * 2


@pytest.mark.parametrize("with_clean_set", [True, False])
@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda features, classes: torch.nn.Linear(features, classes + 1), r"\(2, 3\)"),
        (lambda features, classes: torch.nn.Linear(features, 1), r"\(2, 1\)"),
        (Twice, "tuple"),
    ],
)
def test_a_network_of_another_width_is_refused_before_training(build, got, with_clean_set, monkeypatch):
    X, y, clean, _ = arrays()
    clean = clean if with_clean_set else {}
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(ValueError, match=rf"gives {got} for 2 examples, and y has 2 labels, .*build_model"):
        classifier(build_model=build).fit(X, y, **clean)


def test_a_look_at_the_width_changes_nothing():
    def build(features, classes):
        return torch.nn.Sequential(
            torch.nn.BatchNorm1d(features), torch.nn.Dropout(0.5), torch.nn.Linear(features, classes)
        )

    made = classifier(build_model=build)
    made.classes_ = np.arange(2)
    made.model_ = build(2, 2)
    before = {name: value.clone() for name, value in made.model_.state_dict().items()}
    state = torch.get_rng_state()
    made._check_outputs(torch.randn(2, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, made.model_.state_dict()[name]) for name, value in before.items())


def too_wide(features, classes):
    return torch.nn.Linear(features, classes + 1)


def stopped(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"build_model": too_wide}, ValueError),
        ({"lr": -1.0}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"optimizer": stopped}, KeyboardInterrupt),
    ],
)
def test_a_failed_fit_leaves_what_was_fitted_before(changed, error):
    X, y, clean, _ = arrays()
    fitted = classifier(epochs=2).fit(X, y, **clean)
    fitted.set_params(**changed)
    before, kept = fitted.predict_proba(X), dict(vars(fitted))
    wide, names = np.hstack([X, X]), np.where(y == "left", "down", "up")
    with pytest.raises(error):
        fitted.fit(wide, names, np.hstack([clean["X_clean"]] * 2), np.array(["up", "down"] * 10))
    assert vars(fitted) == kept
    assert np.array_equal(fitted.predict_proba(X), before)
    fresh = classifier(**changed)
    with pytest.raises(error):
        fresh.fit(X, y, **clean)
    assert not [name for name in vars(fresh) if name.endswith("_")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
        ({"clean_batch_size": 0}, "clean_batch_size must be at least 1, got 0"),
        ({"lr": "fast"}, "lr must be a number, finite and not negative, got 'fast'"),
        ({"lr": float("inf")}, "lr must be a number, finite and not negative, got inf"),
        ({"device": "abacus"}, "device 'abacus' cannot be used: "),
    ],
)
def test_a_parameter_that_cannot_be_is_named(options, message):
    X, y, clean, _ = arrays()
    with pytest.raises(ValueError, match=message):
        classifier(**options).fit(X, y, **clean)


def test_training_that_diverges_is_an_error_with_and_without_a_clean_set():
    """Else every label would be the first one."""
    X, y, clean, _ = arrays()
    wild = classifier(optimizer=torch.optim.SGD, lr=1e200)
    for more in ({}, clean):
        with pytest.raises(ValueError, match=r"lower (lr|the learning rate)"):
            wild.fit(X, y, **more)
        assert not hasattr(wild, "model_")
    last = classifier(optimizer=torch.optim.SGD, lr=1e200, epochs=1, batch_size=400)
    with pytest.raises(ValueError, match="training diverged, the network's numbers are NaN or infinite: lower lr"):
        last.set_params(lr=1e300).fit(X * 1e10, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, r"y\[7\] is None: give every example a label"),
        ({"y_clean": None}, r"y_clean\[7\] is None: give every example a label"),
        ({"X_clean": np.full((20, 2), np.nan)}, "X_clean and y_clean: Input X contains NaN"),
        ({"y_clean": ["left"]}, r"X_clean and y_clean: .*inconsistent numbers of samples: \[20, 1\]"),
    ],
)
def test_what_is_wrong_with_labels_or_the_clean_set_is_said_of_these(change, message):
    X, y, clean, _ = arrays()
    given = {"y": y} | clean | change
    for name in [name for name, value in change.items() if value is None]:
        given[name] = ({"y": y} | clean)[name].astype(object)
        given[name][7] = None
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, **given)


@pytest.mark.parametrize("size", [1e-320, 1e307])
def test_sample_weights_count_beside_each_other_however_large_they_are(size):
    X, y, _, _ = arrays()
    usual, other = (classifier(epochs=2).fit(X, y, sample_weight=np.full(400, w)) for w in (1.0, size))
    np.testing.assert_allclose(usual.predict_proba(X), other.predict_proba(X))


def test_labels_that_a_tool_encodes_by_half_are_refused_with_the_remedy():
    """cross_val_predict writes y as whole numbers for predict_proba, and leaves y_clean as it is."""
    X, y, clean, _ = arrays()
    with sklearn.config_context(enable_metadata_routing=True):
        last = classifier(epochs=1).set_fit_request(X_clean=True, y_clean=True)
        ask = partial(cross_val_predict, last, X, cv=2, method="predict_proba")
        with pytest.raises(ValueError, match=r"encode both before, with one sklearn\.preprocessing\.LabelEncoder"):
            ask(y, params=clean)
        encoder = LabelEncoder().fit(y)
        encoded = clean | {"y_clean": encoder.transform(clean["y_clean"])}
        assert ask(encoder.transform(y), params=encoded).shape == (len(y), 2)


def test_a_sparse_matrix_gives_what_the_dense_one_gives():
    X, y, clean, _ = arrays()
    made = classifier(epochs=2).fit(X, y, **clean)
    thin = classifier(epochs=2).fit(csr_matrix(X), y, X_clean=csr_matrix(clean["X_clean"]), y_clean=clean["y_clean"])
    assert np.array_equal(made.predict_proba(X), thin.predict_proba(csr_matrix(X)))


def test_words_go_straight_from_a_vectorizer_into_the_classifier():
    texts = ["good fine great", "bad poor dull"] * 30
    y = np.array(["up", "down"] * 30)
    words = TfidfVectorizer().fit(texts)
    made = classifier(epochs=20).fit(words.transform(texts), y, X_clean=words.transform(texts[:4]), y_clean=y[:4])
    assert made.score(words.transform(texts), y) == 1


@pytest.mark.parametrize("with_clean_set", [True, False])
def test_an_example_of_weight_two_is_two_examples(with_clean_set):
    """In one batch of all: the same parameters, of plain and of reweighted training."""
    X, y, clean, _ = arrays()
    clean = clean if with_clean_set else {}
    X, y, times = X[:40], y[:40], np.arange(40) % 3
    weighed = classifier(batch_size=200).fit(X, y, **clean, sample_weight=times)
    repeated = classifier(batch_size=200).fit(X.repeat(times, 0), y.repeat(times), **clean)
    np.testing.assert_allclose(weighed.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize(("weights", "message"), [(np.zeros(400), "zero"), (-np.ones(400), "egative")])
def test_sample_weights_that_say_nothing_are_refused(weights, message):
    X, y, clean, _ = arrays()
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, **clean, sample_weight=weights)


def test_a_clean_set_that_went_past_the_scaler_is_named_with_the_remedy():
    X, y, clean, _ = arrays()
    past = {f"reweightedclassifier__{name}": value for name, value in clean.items()}
    pipeline = make_pipeline(StandardScaler(), classifier(epochs=1))
    with pytest.warns(UserWarning, match=r"is it scaled like X.*enable_metadata_routing=True.*transform_input"):
        pipeline.fit(100 * X + 700, y, **past | {"reweightedclassifier__X_clean": 100 * clean["X_clean"] + 700})
    words = {"reweightedclassifier__X_clean": np.array([["red", "blue"]] * 20, dtype=object)}
    with pytest.raises(ValueError, match=r"X_clean: could not convert.*enable_metadata_routing=True"):
        pipeline.fit(X, y, **past | words)


def test_a_clean_set_beside_the_data_is_no_reason_to_warn():
    X, y, clean, _ = arrays()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(epochs=1).fit(X, y, **clean)
        classifier(epochs=1).fit(np.c_[X, np.ones(400)], y, np.c_[clean["X_clean"], np.ones(20)], clean["y_clean"])
