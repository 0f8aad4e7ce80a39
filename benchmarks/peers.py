"""What people use today to retrain the last layer, from published settings, in numpy and scikit-learn.

Every peer is a function (x, labels 0…C−1, unit rows u, seed) → predict(x, u). The nets (Coral SGD, TFLite, Teachable
Machine, Frigate) get the raw embeddings as in their products; the others unit rows, which suits them better.

Sources: pycoral learn/backprop and learn/imprinting; TensorFlow Lite's personalization sample; Teachable Machine's
teachable-mobilenet.ts; Frigate's util/classification.py; Hayes & Kanan, "Lifelong Machine Learning with Deep Streaming
Linear Discriminant Analysis", CVPRW 2020. Adam: Kingma & Ba, ICLR 2015.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
Predict = Callable[[Array, Array], Array]
Peer = Callable[[Array, Array, Array, int], Predict]


def nearest_mean(x: Array, y: Array, u: Array, seed: int) -> Predict:
    means = np.stack([u[y == k].mean(0) for k in range(y.max() + 1)])
    bias = -0.5 * (means**2).sum(1)
    return lambda _, v: (v @ means.T + bias).argmax(1)


def imprinting(x: Array, y: Array, u: Array, seed: int) -> Predict:
    means = np.stack([u[y == k].mean(0) for k in range(y.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return lambda _, v: (v @ means.T).argmax(1)


def streaming_lda(x: Array, y: Array, u: Array, seed: int) -> Predict:
    """Examples come one by one in random order; covariance starts as all ones; shrinkage 1e-4 towards the identity."""
    d, order = x.shape[1], np.random.default_rng(seed).permutation(len(x))
    means, counts = np.zeros((y.max() + 1, d)), np.zeros(y.max() + 1)
    vectors, factors = [], []
    for n, i in enumerate(order):
        delta = x[i] - means[y[i]]
        vectors.append(delta)
        factors.append(n / (n + 1) if n else 0.0)
        counts[y[i]] += 1
        means[y[i]] += delta / counts[y[i]]
    n = len(order)
    rows = np.stack(vectors) * np.sqrt(np.array(factors) / n)[:, None]  # Σ_n = (1/n)(Σ_1 + Σ_t (t/(t+1)) δ_t δ_tᵀ)
    sigma = rows.T @ rows + np.ones((d, d)) / n
    weights = np.linalg.solve((1 - 1e-4) * sigma + 1e-4 * np.eye(d), means.T)
    bias = -0.5 * (means * weights.T).sum(1)
    return lambda v, _: (v @ weights + bias).argmax(1)


def net(
    hidden: int, epochs: int = 0, steps: int = 0, batch: int = 16, rate: float = 1e-3, adam: bool = True,
    dropout: float = 0.0, held_out: float = 0.0, last_bias: bool = True, small: bool = False,
) -> Peer:  # fmt: skip
    """Softmax regression, or with one hidden ReLU layer, by minibatches."""

    def train(x: Array, y: Array, u: Array, seed: int) -> Predict:
        rng, classes = np.random.default_rng(seed), int(y.max()) + 1
        if held_out:  # Teachable Machine sets aside ceil(15 %) of every label
            keep = np.concatenate(
                [
                    rng.permutation(np.flatnonzero(y == k))[int(np.ceil(held_out * (y == k).sum())) :]
                    for k in range(classes)
                ]
            )
            if len(keep) < classes:
                raise ValueError("too few examples")
            x, y = x[keep], y[keep]
        x, target = x.astype(np.float32), np.eye(classes, dtype=np.float32)[y]
        sizes = [x.shape[1], hidden, classes] if hidden else [x.shape[1], classes]
        parameters = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            scale = 0.01 if small else np.sqrt(2 / (fan_in + fan_out))
            parameters += [
                (rng.normal(size=(fan_in, fan_out)) * scale).astype(np.float32),
                np.zeros(fan_out, np.float32),
            ]
        first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
        total = steps or epochs * int(np.ceil(len(x) / batch))
        order, at = rng.permutation(len(x)), 0
        for step in range(1, total + 1):
            if steps:
                rows = rng.integers(0, len(x), min(batch, len(x)))
            else:
                if at >= len(x):
                    order, at = rng.permutation(len(x)), 0
                rows, at = order[at : at + batch], at + batch
            z = [x[rows]]
            for i in range(0, len(parameters), 2):
                z.append(z[-1] @ parameters[i] + parameters[i + 1])
                if i + 2 < len(parameters):
                    z[-1] = np.maximum(z[-1], 0)
                    if dropout:
                        z[-1] *= (rng.random(z[-1].shape) >= dropout).astype(np.float32) / np.float32(1 - dropout)
            p = np.exp(z[-1] - z[-1].max(1, keepdims=True))
            back = (p / p.sum(1, keepdims=True) - target[rows]) / np.float32(len(rows))
            for i in range(len(parameters) - 2, -1, -2):
                gradients = [z[i // 2].T @ back, back.sum(0) * np.float32(last_bias or i + 2 < len(parameters))]
                if i:
                    back = (back @ parameters[i].T) * (z[i // 2] > 0) / np.float32(1 - dropout)
                for j, g in zip((i, i + 1), gradients, strict=True):
                    if adam:
                        first[j] += np.float32(0.1) * (g - first[j])
                        second[j] += np.float32(0.001) * (g * g - second[j])
                        corrected = np.float32(rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step))
                        parameters[j] -= corrected * first[j] / (np.sqrt(second[j]) + np.float32(1e-7))
                    else:
                        parameters[j] -= np.float32(rate) * g

        def logits(v: Array) -> Array:
            for i in range(0, len(parameters), 2):
                v = (np.maximum(v, 0) if i else v.astype(np.float32)) @ parameters[i] + parameters[i + 1]
            return v

        def predict(v: Array, _: Array) -> Array:
            return logits(v).argmax(1)

        predict.logits = logits  # type: ignore[attr-defined]
        return predict

    return train


def scikit(make: Callable[[], Any], each: int = 1) -> Peer:
    """A scikit-learn estimator on unit rows; `each` is how many examples of every label it needs."""

    def train(x: Array, y: Array, u: Array, seed: int) -> Predict:
        if np.bincount(y).min() < each:
            raise ValueError("too few examples")
        model = make().fit(u, y)
        return lambda _, v: model.predict(v)

    return train


def peers() -> dict[str, Peer]:
    """All of them by the name in the table."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV

    return {
        "nearest mean": nearest_mean,
        "Coral imprinting": imprinting,
        "Coral SGD softmax": net(0, steps=500, batch=100, rate=1e-2, adam=False, small=True),
        "TFLite personalization": net(0, epochs=100, batch=20),
        "Teachable Machine": net(100, epochs=50, held_out=0.15, last_bias=False),
        "Frigate": net(128, epochs=50, dropout=0.3),
        "streaming LDA": streaming_lda,
        "logistic C=1": scikit(lambda: LogisticRegression(C=1, max_iter=300, tol=1e-3)),
        "logistic C=10": scikit(lambda: LogisticRegression(C=10, max_iter=300, tol=1e-3)),
        "logistic C=100": scikit(lambda: LogisticRegression(C=100, max_iter=300, tol=1e-3)),
        "LogisticRegressionCV": scikit(lambda: LogisticRegressionCV(Cs=10, cv=2, max_iter=100, tol=1e-3), 2),
        "RidgeClassifierCV": scikit(lambda: RidgeClassifierCV(alphas=np.logspace(-3, 3, 13))),
        "LDA shrinkage=auto": scikit(lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), 2),
    }
