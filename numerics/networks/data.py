"""Labelled examples, split once into training and held-out: digits, mnist1d, or image files the user already has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.networks.draws import Purpose, generator
from numerics.networks.image_files import cifar, cifar_files, mnist, mnist_files

Array = NDArray[np.float64]
Raw = tuple[NDArray[Any], NDArray[np.int64]]
SOURCES = ("digits", "mnist1d", "mnist", "cifar10", "cifar100")


@dataclass(frozen=True)
class Examples:
    """Inputs ``(n, *shape)`` and classes ``(n,)`` for training, and the same held out; ``classes`` distinct labels."""

    x: Array
    labels: NDArray[np.int64]
    x_test: Array
    labels_test: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if self.x.shape[1:] != self.x_test.shape[1:]:
            rule = f"differs from the training inputs' {self.x.shape[1:]}"
            raise InputError("held-out input shape", self.x_test.shape[1:], rule, "give both the same shape")
        for name, inputs, labels in (("x", self.x, self.labels), ("x_test", self.x_test, self.labels_test)):
            _check_rows(name, inputs, labels, self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x.shape[1:]

    def targets(self, labels: NDArray[np.int64]) -> Array:
        """Targets ``(n, C)``: one-hot rows, or one column of ±1 for two classes."""
        if self.classes == 2:
            return np.asarray(2.0 * labels - 1.0, dtype=np.float64)[:, None]
        return np.eye(self.classes)[labels]


def _check_rows(name: str, inputs: Array, labels: NDArray[np.int64], classes: int) -> None:
    if len(inputs) != len(labels) or len(inputs) == 0:
        raise InputError(f"{name} rows", len(inputs), f"must equal the {len(labels)} labels and not be 0", "align them")
    if not np.isfinite(inputs).all():
        raise InputError(f"{name} row", int(np.argwhere(~np.isfinite(inputs))[0][0]), "is not finite", "remove it")
    if labels.min() < 0 or labels.max() >= classes:
        rule = f"is not a class number from 0 to {classes - 1}"
        raise InputError(f"{name} label", int(labels[(labels < 0) | (labels >= classes)][0]), rule, "recode the labels")


def load(source: str, *, n_train: int, n_test: int, seed: int, folder: Path | None = None) -> Examples:
    """``n_train`` class-balanced training examples and up to ``n_test`` held-out ones, standardised by the former.

    Files with their own test part (MNIST, CIFAR) hold out from that part, the others from the rows not trained on.
    Raises InputError for an unknown source, missing files, or more examples than there are.
    """
    train, test, classes = _read(source, folder)
    rows = balanced(train[1], n_train, seed)
    if test is None:
        rest = np.setdiff1d(np.arange(len(train[1])), rows)
        test = train[0][rest], train[1][rest]
    kept = generator(seed, Purpose.SPLIT, stream=1).permutation(len(test[1]))[:n_test]
    return standardised(train[0][rows], train[1][rows], test[0][kept], test[1][kept], classes)


def files_of(source: str, folder: Path | None) -> list[Path]:
    """The files that ``load`` reads. Raises InputError where one is missing."""
    if source == "mnist":
        return mnist_files(folder)
    return cifar_files(folder, int(source.removeprefix("cifar"))) if source.startswith("cifar") else []


def standardised(
    x: NDArray[Any], labels: NDArray[Any], x_test: NDArray[Any], labels_test: NDArray[Any], classes: int
) -> Examples:
    """Subtract the mean training input and divide by the remaining deviation (one number for all pixels)."""
    mean = x.mean(axis=0)
    deviation = (x - mean).std()
    if not deviation > 0:
        raise InputError("x deviation", float(deviation), "says all examples are equal", "give inputs that vary")
    return Examples((x - mean) / deviation, labels, (x_test - mean) / deviation, labels_test, classes)


def balanced(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """``count`` rows of ``labels (N,)``, the classes as equal in number as can be, in random order."""
    if not 0 < count <= len(labels):
        raise InputError("n_train", count, f"must lie between 1 and the {len(labels)} there are", "ask for fewer")
    order = generator(seed, Purpose.SPLIT).permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    position = np.argsort(order)
    return np.lexsort((position, rank))[:count]


def _read(source: str, folder: Path | None) -> tuple[Raw, Raw | None, int]:
    if source == "digits":
        return digits(), None, 10
    if source == "mnist1d":
        return mnist1d(), None, 10
    if source not in SOURCES:
        raise InputError("data", source, "is not known", f"choose one of {', '.join(SOURCES)}")
    if source == "mnist":
        return (*mnist(folder), 10)
    classes = int(source.removeprefix("cifar"))
    return (*cifar(folder, classes), classes)


def digits() -> Raw:
    """The 1797 scikit-learn digits as images ``(1797, 1, 8, 8)`` in [0, 1] and classes 0–9."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[:, None] / 16.0, bunch.target.astype(np.int64)


def mnist1d() -> Raw:
    """The 5000 signals ``(5000, 1, 40)`` of mnist1d's own generator with its published settings, and classes 0–9.

    Source: Greydanus, Kobak 2024. Generated, not downloaded. Raises InputError where the package is missing.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise InputError("data", "mnist1d", "needs the package mnist1d", "pip install mnist1d") from error
    state = np.random.get_state()  # noqa: NPY002 - the generator seeds numpy's global state; give the caller's back
    try:
        parts = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)  # noqa: NPY002
    signals = np.concatenate([parts["x"], parts["x_test"]])[:, None]
    return signals, np.concatenate([parts["y"], parts["y_test"]]).astype(np.int64)


def digit_parity(*, n_train: int, components: int, seed: int) -> Examples:
    """Digits as their first ``components`` principal components, jointly scaled to unit variance; even 0, odd 1."""
    images, labels = digits()
    flat = images.reshape(len(images), -1)
    if not 0 < components <= flat.shape[1]:
        raise InputError("components", components, f"must lie between 1 and {flat.shape[1]}", "ask for fewer")
    centred = flat - flat.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    scores = centred @ axes[:components].T
    scores /= scores.std()
    rows = balanced(labels, n_train, seed)
    rest = np.setdiff1d(np.arange(len(labels)), rows)
    return Examples(scores[rows], labels[rows] % 2, scores[rest], labels[rest] % 2, 2)
