"""The benchmark's tasks: real data, small networks, with and without label noise. Split into training, validation,
test.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.networks import data
from numerics.networks.draws import Purpose, generator
from numerics.schedules.bench_models import StackedNetwork

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One task: data, network, loss, noise on the labels of each step ("none", "gauss" or "flip"), and its budget.

    ``eta`` is the large learning rate before momentum: every method is also tried at a third of it.
    """

    name: str
    source: str
    n_train: int
    network: str
    loss: str
    noise: str
    size: float
    batch: int
    eta: float
    steps: int
    momentum: float = 0.9
    gain: float = 1.2


@dataclass(frozen=True)
class Split:
    """Inputs ``(n, ...)`` and targets ``(n, C)`` for training, validation (choice of learning rate) and test."""

    x: Array
    y: Array
    x_valid: Array
    y_valid: Array
    x_test: Array
    y_test: Array
    classes: int


#: name: (hidden widths, activation, convolutional)
NETWORKS = {"mlp": ((48, 48), "relu", False), "wide": ((64,), "tanh", False), "cnn": ((6, 12), "relu", True)}
NETWORKS["deep"] = ((32, 32, 32), "relu", False)  # not in the benchmark: for the demonstration


TASKS = (
    Task("digits mlp mse noise", "digits", 200, "mlp", "squared", "gauss", 0.5, 25, 0.036, 3000),
    Task("digits mlp mse clean", "digits", 200, "mlp", "squared", "none", 0.0, 25, 0.036, 1500),
    Task("digits cnn xent flips", "digits", 200, "cnn", "cross-entropy", "flip", 0.2, 20, 0.03, 1500),
    Task("mnist1d mlp xent clean", "mnist1d", 800, "mlp", "cross-entropy", "none", 0.0, 25, 0.02, 1500),
    Task("mnist1d mlp mse noise", "mnist1d", 800, "mlp", "squared", "gauss", 0.3, 25, 0.02, 3000),
    Task("mnist1d cnn xent flips", "mnist1d", 800, "cnn", "cross-entropy", "flip", 0.2, 20, 0.05, 1500),
    Task("breast-cancer mlp xent flips", "breast_cancer", 150, "wide", "cross-entropy", "flip", 0.2, 15, 0.1, 2500),
    Task("breast-cancer mlp xent clean", "breast_cancer", 150, "wide", "cross-entropy", "none", 0.0, 15, 0.1, 2500),
    Task("diabetes mlp mse noise", "diabetes", 150, "wide", "squared", "gauss", 0.5, 15, 0.02, 2500),
    Task("randhie mlp mse clean", "randhie", 400, "wide", "squared", "none", 0.0, 25, 0.03, 2500),
)


def model_of(task: Task, split: Split) -> StackedNetwork:
    """The task's network, its outputs matched to the targets."""
    widths, activation, convolutional = NETWORKS[task.network]
    return StackedNetwork(split.x.shape[1:], widths, split.y.shape[1], activation, convolutional)


def load(task: Task, *, seed: int) -> Split:
    """The data, split by ``seed``: n_train rows to train, at most 300 to validate, at most 1000 to test."""
    x, y, classes = _SOURCES[task.source]()
    order = generator(seed, Purpose.SPLIT, stream=3).permutation(len(x))
    rest = len(x) - task.n_train
    if rest < 40:
        raise InputError("n_train", task.n_train, f"leaves {rest} of {len(x)} rows to hold out", "train on fewer")
    valid = min(300, rest // 3)
    train, held, test = np.split(order[: task.n_train + valid + 1000], [task.n_train, task.n_train + valid])
    x = _standardised(x, train)
    if classes == 0:
        y = (y - y[train].mean()) / y[train].std()
    return Split(x[train], y[train], x[held], y[held], x[test], y[test], classes)


def _standardised(x: Array, train: NDArray[np.int64]) -> Array:
    """Tables column by column; images by one number for all pixels."""
    mean = x[train].mean(axis=0)
    deviation = x[train].std(axis=0) if x.ndim == 2 else (x[train] - mean).std()
    return np.asarray((x - mean) / np.where(deviation > 0, deviation, 1.0))


def _one_hot(raw: tuple[NDArray[Any], NDArray[np.int64]]) -> tuple[Array, Array, int]:
    return np.asarray(raw[0], float), np.eye(10)[raw[1]], 10


@lru_cache(maxsize=1)
def _mnist1d() -> tuple[Array, Array, int]:
    return _one_hot(data.mnist1d())


def _breast_cancer() -> tuple[Array, Array, int]:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return bunch.data, 2.0 * bunch.target[:, None] - 1.0, 2


def _diabetes() -> tuple[Array, Array, int]:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    return bunch.data, bunch.target[:, None].astype(float), 0


def _wine() -> tuple[Array, Array, int]:
    from sklearn.datasets import load_wine

    bunch = load_wine()
    return bunch.data, np.eye(3)[bunch.target], 3


def _statsmodels(name: str) -> dict[str, Array]:
    """A table that ships with statsmodels, column by column, read without importing it."""
    found = find_spec("statsmodels")
    if found is None or found.origin is None:
        raise InputError("data", name, "needs the package statsmodels", "pip install 'latedecay[bench]'")
    with open(Path(found.origin).parent / "datasets" / name / f"{name}.csv", newline="") as stream:
        header, *rows = csv.reader(stream)
    return dict(zip(header, np.array(rows, dtype=np.float64).T, strict=True))


@lru_cache(maxsize=1)
def _randhie() -> tuple[Array, Array, int]:
    """RAND health insurance: log(1 + outpatient visits) from 9 columns, 4000 rows."""
    table = np.stack(list(_statsmodels("randhie").values()), axis=1)
    table = table[generator(0, Purpose.SPLIT, stream=4).permutation(len(table))[:4000]]
    return table[:, 1:], np.log1p(table[:, :1]), 0


def _star98() -> tuple[Array, Array, int]:
    """Californian school districts: share of pupils above the national median in mathematics, from 20 columns."""
    table = _statsmodels("star98")
    above, total = table.pop("PR50M"), table.pop("MATHTOT")
    return np.stack(list(table.values()), axis=1), (above / total)[:, None], 0


def _fair() -> tuple[Array, Array, int]:
    """Fair's survey: whether there was an affair (±1), from 8 columns; 6366 rows."""
    table = _statsmodels("fair")
    affairs = table.pop("affairs")
    return np.stack(list(table.values()), axis=1), np.where(affairs > 0, 1.0, -1.0)[:, None], 2


def _sparse() -> tuple[Array, Array, int]:
    """Made up: 30 Gaussian inputs of which three matter, y = (x_1 + x_2 - x_3)/sqrt 3; 4000 rows."""
    x = generator(0, Purpose.SPLIT, stream=5).standard_normal((4000, 30))
    return x, (x[:, :1] + x[:, 1:2] - x[:, 2:3]) / np.sqrt(3), 0


_SOURCES: dict[str, Callable[[], tuple[Array, Array, int]]] = {
    "digits": lambda: _one_hot(data.digits()),
    "mnist1d": _mnist1d,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
    "randhie": _randhie,
    "wine": _wine,
    "star98": _star98,
    "fair": _fair,
    "sparse": _sparse,
}
