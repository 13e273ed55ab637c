"""The contract of scikit-learn: its estimator checks for codebooks, and for last parts as classifiers."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines.codebooks.kmeans import KMeans
from imclass.pipelines.codebooks.mixture import DiagonalMixture
from imclass.pipelines.codebooks.principal import PrincipalComponents
from imclass.pipelines.estimators import Estimator
from imclass.pipelines.parts.averaged_sgd import AveragedSgd
from imclass.pipelines.parts.kernel_svm import KernelSvm
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.random_forest import RandomForest
from tests.pipelines.parts.test_logistic import clouds

# These skip themselves: one needs SCIPY_ARRAY_API to be set, and the other pandas.
SKIPPED = {"check_array_api_input", "check_classifier_data_not_an_array"}
# This gives constructors values of wrong types, which the type checks of these tests refuse. It passes without them.
REFUSED = {"check_do_not_raise_errors_in_init_or_set_params": "types are checked in tests"}


SLOW = [
    DiagonalMixture(components=2, iterations=5),
    Estimator(),
    Estimator(Logistic()),
    Estimator(LinearSvm()),
    Estimator(AveragedSgd()),
    Estimator(KernelSvm("linear", True)),
    Estimator(RandomForest(trees=20)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        KMeans(words=2, iterations=5),
        PrincipalComponents(dims=1),
        PrincipalComponents(dims=1, whiten=True),
        *(pytest.param(estimator, marks=pytest.mark.slow) for estimator in SLOW),
    ],
    ids=lambda estimator: type(getattr(estimator, "part", estimator)).__name__,
)
def test_estimators_pass_the_checks_of_scikit_learn(estimator: Any) -> None:
    results = check_estimator(estimator, expected_failed_checks=REFUSED, on_fail=None)
    assert len(results) > 40
    problems = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert not {name: str(problem) for name, problem in problems.items() if name not in {*SKIPPED, *REFUSED}}


@pytest.mark.parametrize("estimator", [KMeans(words=2), PrincipalComponents(dims=1), DiagonalMixture(components=2)])
def test_codebooks_raise_errors_that_are_of_scikit_learn_and_for_users(estimator: Any) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(NotFittedError, match="call fit first") as caught:
        estimator.transform(x)
    assert isinstance(caught.value, UserError)
    for wrong in (x[:0], x[0], np.full((4, 3), np.inf)):
        with pytest.raises(ValueError) as refused:
            clone(estimator).fit(wrong)
        assert isinstance(refused.value, UserError)
    with pytest.raises(UserError, match="has no parameter 'wods'"):
        estimator.set_params(wods=3)
    (name, value), *_ = estimator.get_params().items()
    assert estimator.set_params(**{name: value + 1}).get_params()[name] == value + 1
    assert clone(estimator).fit_transform(x).shape[0] == 20


def test_a_part_is_a_classifier_whose_settings_scikit_learn_can_search() -> None:
    x, labels = clouds(60, 20, 3)
    names = np.array(["daisy", "rose", "tulip"])[labels]
    search = GridSearchCV(Estimator(Logistic((1.0,))), {"part__grid": [(1e-8,), (0.1,)]}, cv=3).fit(x, names)
    found, part = search.best_estimator_, Logistic((0.1,)).fit(x, OneOf(labels), 3)
    assert search.best_params_ == {"part__grid": (0.1,)}
    assert np.array_equal(found.decision_function(x), part.scores(x))
    assert np.array_equal(found.predict(x), found.classes_[part.scores(x).argmax(1)])
    assert found.score(x, names) > 0.9
    assert np.allclose(found.predict_proba(x).sum(1), 1)


def test_two_classes_have_one_column() -> None:
    x, labels = clouds(40, 5, 2)
    found = Estimator(LinearSvm((1e-2,))).fit(x, labels)
    assert found.decision_function(x).shape == (40,)
    assert np.array_equal(found.predict(x) == 1, found.decision_function(x) > 0)


def test_what_the_part_cannot_fit_is_an_error_of_both_kinds() -> None:
    x, _ = clouds(40, 5, 2)
    for wrong in (np.zeros(40, int), np.arange(40) == 0):
        with pytest.raises(ValueError, match="class") as caught:
            Estimator().fit(x, wrong)
        assert isinstance(caught.value, UserError)
    with pytest.raises(UserError, match="Estimator has no parameter 'part__grd'"):
        Estimator(Logistic()).set_params(part__grd=(1.0,))


@pytest.mark.slow
def test_modules_do_not_import_scikit_learn() -> None:
    modules = "imclass.pipelines.estimators, imclass.pipelines.codebooks.mixture"
    code = f"import sys, {modules}; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
