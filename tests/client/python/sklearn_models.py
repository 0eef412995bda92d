"""Fitted scikit-learn models of different shape, on numbers made here."""

import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler,
                                   StandardScaler)

MODELS = {}


def model(made):
    MODELS[made.__name__] = made
    return made


def make(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MODELS[name]()


def data(features, classes=0, outputs=1):
    """x far from zero mean and unit variance; labels, or outputs as large."""
    random = np.random.default_rng(features)
    x = random.standard_normal((200, features)) * random.uniform(0.1, 50, features) + random.normal(0, 20, features)
    z = (x - x.mean(0)) / x.std(0) @ random.standard_normal((features, max(classes, outputs)))
    if classes:
        return x, z.argmax(1) if classes > 2 else (z[:, 0] > 0).astype(int)
    return x, 100 * np.tanh(z) + 7 if outputs > 1 else 100 * np.tanh(z[:, 0]) + 7


def classifier(**options):
    return MLPClassifier(max_iter=20, random_state=0, **options)


def regressor(**options):
    return MLPRegressor(max_iter=20, random_state=0, **options)


@model
def classifier_of_many_classes():
    return classifier(hidden_layer_sizes=(32, 16)).fit(*data(12, classes=5))


@model
def classifier_of_two_classes():
    return classifier(hidden_layer_sizes=(8,), activation="tanh").fit(*data(9, classes=2))


@model
def classifier_of_several_labels():
    x, z = data(10, outputs=3)
    return make_pipeline(StandardScaler(), classifier(hidden_layer_sizes=(6,))).fit(x, (z > 0).astype(int))


@model
def classifier_behind_a_scaler():
    return make_pipeline(StandardScaler(), classifier(activation="logistic")).fit(*data(20, classes=4))


@model
def regressor_of_one_output():
    return make_pipeline(StandardScaler(), regressor(hidden_layer_sizes=(50, 50))).fit(*data(7))


@model
def regressor_of_many_outputs():
    return make_pipeline(MinMaxScaler(), regressor(activation="identity")).fit(*data(15, outputs=6))


@model
def linear_behind_two_scalers():
    return make_pipeline(RobustScaler(), MaxAbsScaler(), Ridge()).fit(*data(5))


@model
def regressor_of_float32():
    x, y = data(11)
    return make_pipeline(MaxAbsScaler(), regressor()).fit(x.astype(np.float32), y.astype(np.float32))


@model
def scaler_after_scaler_and_pca():
    steps = make_pipeline(RobustScaler(), "passthrough", FunctionTransformer(), PCA(5, whiten=True), StandardScaler(),
                          regressor(hidden_layer_sizes=(12,)))
    return steps.fit(*data(18))


@model
def truncated_svd():
    return make_pipeline(TruncatedSVD(4), StandardScaler(with_mean=False), LinearRegression()).fit(*data(14, outputs=2))


@model
def nested_pipelines():
    return make_pipeline(make_pipeline(StandardScaler(with_std=False), MinMaxScaler((-1, 1))),
                         make_pipeline(Ridge())).fit(*data(6))


@model
def logistic_regression_of_two_classes():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*data(8, classes=2))


@model
def logistic_regression_of_many_classes():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*data(8, classes=3))


@model
def target_scaled_back():
    inner = make_pipeline(StandardScaler(), regressor(hidden_layer_sizes=(20,), activation="tanh"))
    return TransformedTargetRegressor(inner, transformer=StandardScaler()).fit(*data(13, outputs=3))


@model
def target_scaled_back_from_a_range():
    return TransformedTargetRegressor(regressor(hidden_layer_sizes=(10,)), transformer=MinMaxScaler()).fit(*data(5))


@model
def pca_alone():
    return PCA(3).fit(data(10)[0])
