"""Reads fitted scikit-learn estimators: MLPs, linear models, and pipelines of scalers and PCA before them.

Scalers are folded into the first layer. A classifier's block answers logits: one column for each class
of `classes_` in its order, or a single one with two classes; softmax, which spans columns, is not a
block's to compute.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import compose, decomposition, exceptions, linear_model, neural_network, pipeline, preprocessing
from sklearn.utils import validation

from mlpserve import graph as graphs
from mlpserve.block import Array, Function, Ops
from mlpserve.bounds import Bounded
from mlpserve.errors import ExportError
from mlpserve.frontends.lowered import Lowered

CAN = ("MLPClassifier, MLPRegressor, LinearRegression, Ridge, LogisticRegression, TransformedTargetRegressor "
       "with a scaler, and pipelines with StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PCA, "
       "TruncatedSVD or 'passthrough' before them")

_ACTIVATIONS: dict[str, Ops] = {
    "identity": (),
    "relu": (Function("relu"),),
    "tanh": (Function("tanh"),),
    "logistic": (Function("sigmoid"),),
}


class _Reader:
    def __init__(self, probabilities: bool) -> None:
        self.graph = graphs.Graph()
        self._probabilities = probabilities

    def step(self, value: graphs.Value, model: Any, path: str) -> graphs.Value:
        where = f"{path or 'the model'} ({type(model).__name__})"
        if model is None or isinstance(model, str):
            if model in (None, "passthrough"):
                return value
            raise ExportError(f"{path}: expected an estimator or 'passthrough', found '{model}'")
        if isinstance(model, pipeline.Pipeline):
            for name, inner in model.steps:
                value = self.step(value, inner, _joined(path, name))
            return value
        for kind, read in _READERS.items():
            if isinstance(model, kind):
                self._require_fitted(model, where)
                return read(self, value, model, path, where)
        if hasattr(model, "best_estimator_"):
            raise ExportError(f"{where}: it cannot be expressed; export its best_estimator_")
        raise ExportError(f"{where}: it cannot be expressed; a block can hold {CAN}")

    def _require_fitted(self, model: Any, where: str) -> None:
        if isinstance(model, preprocessing.FunctionTransformer):
            return
        try:
            validation.check_is_fitted(model)
        except exceptions.NotFittedError:
            raise ExportError(f"{where}: expected a fitted estimator, found one that is not") from None

    # -- what precedes a model

    def scale_shift(self, value: graphs.Value, scale: Array | None, shift: Array | None, path: str,
                    where: str) -> graphs.Value:
        """x · scale + shift"""
        if scale is not None:
            value = self.graph.scale(value, _constant(path, "scale", scale, where), where)
        if shift is not None:
            value = self.graph.add_constant(value, _constant(path, "shift", shift, where), where)
        return value

    def standard(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        scale = 1 / m.scale_ if m.scale_ is not None else None
        shift = None if m.mean_ is None or not m.with_mean else -m.mean_ * (1 if scale is None else scale)
        return self.scale_shift(value, scale, shift, path, where)

    def min_max(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        if m.clip:
            raise ExportError(f"{where}: clip=True cannot be expressed; before the first layer a block can only "
                              "scale and shift each column")
        return self.scale_shift(value, m.scale_, m.min_, path, where)

    def max_abs(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        if getattr(m, "clip", False):
            raise ExportError(f"{where}: clip=True cannot be expressed; before the first layer a block can only "
                              "scale and shift each column")
        return self.scale_shift(value, 1 / m.scale_, None, path, where)

    def robust(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        scale = 1 / m.scale_ if m.scale_ is not None else None
        shift = None if m.center_ is None else -m.center_ * (1 if scale is None else scale)
        return self.scale_shift(value, scale, shift, path, where)

    def function(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        if m.func is not None:
            name = getattr(m.func, "__name__", str(m.func))
            raise ExportError(f"{where}: func={name} cannot be expressed; a block can hold {CAN}")
        return value

    def projection(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        weight = np.asarray(m.components_, np.float64)
        if getattr(m, "whiten", False):
            weight = weight / np.sqrt(m.explained_variance_)[:, None]
        mean = getattr(m, "mean_", None)
        bias = None if mean is None else _constant(path, "bias", -weight @ mean, where)
        return self.graph.linear(value, _constant(path, "components_", weight, where), bias, where,
                                 path or type(m).__name__)

    # -- models

    def mlp(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        last = len(m.coefs_) - 1
        for index, (coefficients, intercepts) in enumerate(zip(m.coefs_, m.intercepts_)):
            value = self.graph.linear(value, _constant(path, f"coefs_.{index}.T", coefficients.T, where),
                                      _constant(path, f"intercepts_.{index}", intercepts, where), where,
                                      _joined(path, f"layer{index}"))
            if index < last:
                value = self.graph.apply(value, _ACTIVATIONS[m.activation], where)
        if isinstance(m, neural_network.MLPClassifier):
            return self._classified(value, m.out_activation_ == "logistic", where)
        if m.out_activation_ not in _ACTIVATIONS:
            raise ExportError(f"{where}: the output activation {m.out_activation_} cannot be expressed")
        return self.graph.apply(value, _ACTIVATIONS[m.out_activation_], where)

    def linear(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        weight = np.atleast_2d(m.coef_)
        bias = np.broadcast_to(np.atleast_1d(m.intercept_), (weight.shape[0],))
        value = self.graph.linear(value, _constant(path, "coef_", weight, where),
                                  _constant(path, "intercept_", bias, where), where, path or type(m).__name__)
        if isinstance(m, linear_model.LogisticRegression):
            return self._classified(value, weight.shape[0] == 1, where)
        return value

    def _classified(self, value: graphs.Value, independent: bool, where: str) -> graphs.Value:
        if not self._probabilities:
            return value
        if not independent:
            raise ExportError(f"{where}: probabilities of {value.features} classes cannot be expressed (softmax spans "
                              "columns); export logits and apply softmax to the answer")
        return self.graph.apply(value, (Function("sigmoid"),), where)

    def transformed_target(self, value: graphs.Value, m: Any, path: str, where: str) -> graphs.Value:
        value = self.step(value, m.regressor_, _joined(path, "regressor_"))
        back = m.transformer_
        inner = f"{_joined(path, 'transformer_')} ({type(back).__name__})"
        scale: Any
        shift: Any
        if isinstance(back, preprocessing.StandardScaler):
            scale, shift = back.scale_, back.mean_ if back.with_mean else None
        elif isinstance(back, preprocessing.MinMaxScaler) and not back.clip:
            scale, shift = 1 / back.scale_, -back.min_ / back.scale_
        else:
            raise ExportError(f"{inner}: its inverse cannot be expressed; StandardScaler and MinMaxScaler can")
        return self.scale_shift(value, scale, shift, _joined(path, "transformer_"), inner)


_READERS: dict[type, Callable[[_Reader, graphs.Value, Any, str, str], graphs.Value]] = {
    preprocessing.StandardScaler: _Reader.standard,
    preprocessing.MinMaxScaler: _Reader.min_max,
    preprocessing.MaxAbsScaler: _Reader.max_abs,
    preprocessing.RobustScaler: _Reader.robust,
    preprocessing.FunctionTransformer: _Reader.function,
    decomposition.PCA: _Reader.projection,
    decomposition.TruncatedSVD: _Reader.projection,
    neural_network.MLPClassifier: _Reader.mlp,
    neural_network.MLPRegressor: _Reader.mlp,
    linear_model.LinearRegression: _Reader.linear,
    linear_model.Ridge: _Reader.linear,
    linear_model.LogisticRegression: _Reader.linear,
    compose.TransformedTargetRegressor: _Reader.transformed_target,
}


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _constant(path: str, name: str, values: Array, where: str) -> graphs.Constant:
    return graphs.constant(_joined(path, name), np.asarray(values), where)


def _final(model: Any) -> Any:
    while isinstance(model, pipeline.Pipeline):
        model = model.steps[-1][1]
    return model


def _original(model: Any, method: str) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "does not have valid feature names"
            answer = np.asarray(getattr(model, method)(x.astype(np.float64)), np.float64)
        return answer.reshape(x.shape[0], -1)

    return run


def _softmax(z: Bounded) -> Bounded:
    """Errors of at most d in each logit change a probability p by at most p · (exp(2 · d) - 1)."""
    shifted = np.exp(z.value - z.value.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    return Bounded(p, p * np.expm1(2 * z.bound.max(axis=1, keepdims=True)) + 1e-12)


def _positive_class(z: Bounded) -> Bounded:
    """Probabilities of both classes from the logit of the second."""
    p = 1 / (1 + np.exp(-z.value))
    return Bounded(np.hstack([1 - p, p]), np.hstack([z.bound, z.bound]) / 4 + 1e-12)


def _both_classes(p: Bounded) -> Bounded:
    return Bounded(np.hstack([1 - p.value, p.value]), np.hstack([p.bound, p.bound]) + 1e-12)


def _each_class(z: Bounded) -> Bounded:
    return Bounded(1 / (1 + np.exp(-z.value)), z.bound / 4 + 1e-12)


def _comparison(model: Any, columns: int, probabilities: bool) -> tuple[str, Callable[[Bounded], Bounded] | None]:
    """The method of the original to compare with, and what makes its answer of the block's."""
    final = _final(model)
    if isinstance(final, linear_model.LogisticRegression):
        return ("predict_proba", _both_classes) if probabilities else ("decision_function", None)
    if not isinstance(final, neural_network.MLPClassifier):
        return ("predict" if hasattr(final, "predict") else "transform"), None
    if final.out_activation_ == "softmax":
        return "predict_proba", _softmax
    if columns == 1:  # two classes; more columns: several labels at once
        return "predict_proba", _both_classes if probabilities else _positive_class
    return "predict_proba", None if probabilities else _each_class


def lower(model: Any, *, probabilities: bool = False) -> Lowered:
    reader = _Reader(probabilities)
    block = reader.graph.finish(reader.step(reader.graph.input(None, "the block's input"), model, ""))
    method, shown = _comparison(model, block.output_features, probabilities)
    original = _original(model, method)
    return Lowered(block, original, shown) if shown else Lowered(block, original)
