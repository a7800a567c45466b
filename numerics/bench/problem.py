"""What `bench` measures: workloads, and the problem that every engine of a workload is given."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: the noise of the labels, and the share of the largest eigenvalue's inverse that is the learning rate
SIGMA, SHARE = 0.05, 0.3
DEPTH = 3


@dataclass(frozen=True)
class Workload:
    """A process and its size. ``kind``: "sgd" (Radial), "sde" (its Euler-Maruyama) or "separable" (Coordinatewise)."""

    kind: str
    n: int
    d: int
    batch: int
    replicas: int
    precision: str = "float64"

    def __str__(self) -> str:
        title = {"sgd": "label-noise SGD, Radial", "sde": "SDE, Radial", "separable": "label-noise SGD, Coordinatewise"}
        size = f"n={self.n} d={self.d} B={self.batch}, {self.replicas} replicas, {self.precision}"
        return f"{title[self.kind]} depth {DEPTH}, {size}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def draws(self) -> int:
        """Random numbers per replica and step: (row, normal) pairs, or normals."""
        return self.n if self.kind == "sde" else self.batch


WORKLOADS = {
    "W1": Workload("sgd", 20, 100, 1, 1024),
    "W2": Workload("sgd", 50, 1000, 1, 256),
    "W3": Workload("sgd", 200, 2000, 16, 64),
    "W4": Workload("sde", 50, 200, 1, 1024),
    "W5": Workload("separable", 50, 1000, 1, 256),
}


@dataclass(frozen=True)
class Task:
    """What an engine gets: X ``(n, m)``, y ``(n,)``, start u ``(m,)``, learning rate, batch, replicas, type, seed."""

    X: FloatArray
    y: FloatArray
    u: FloatArray
    eta: float
    batch: int
    replicas: int
    precision: str
    seed: int

    def cast(self) -> tuple[Any, Any, Any]:
        """X, y and the replicas' starts ``(R, m)`` in the task's precision."""
        U = np.tile(self.u, (self.replicas, 1))
        return self.X.astype(self.precision), self.y.astype(self.precision), U.astype(self.precision)


def make_task(workload: Workload, seed: int, reduced: bool) -> Task:
    """The workload's problem; reduced: in an orthonormal basis of span(rows of X, u), m = n + 1 (C12)."""
    X, y, w = _arrays(workload.n, workload.d)
    if workload.kind == "separable":
        u = np.cbrt(w)
        eta = SHARE / float(np.linalg.eigvalsh((X * (DEPTH * u**2) ** 2) @ X.T)[-1])
    else:
        u = w * np.linalg.norm(w) ** (1 / DEPTH - 1)
        r2 = float(u @ u)
        K = r2 ** (DEPTH - 1) * X @ X.T + (DEPTH**2 - 1) / r2 * np.outer(y, y)
        eta = SHARE / float(np.linalg.eigvalsh(K)[-1])
    if reduced:
        basis = np.linalg.qr(np.vstack([X, u]).T)[0]
        X, u = np.ascontiguousarray(X @ basis), u @ basis
    return Task(X, y, u, eta, workload.batch, workload.replicas, workload.precision, seed)


def _arrays(n: int, d: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """X, y and an interpolating w half as far from the minimum-norm one as that is long."""
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, d)) / np.sqrt(d)
    y = X @ draw.standard_normal(d)
    w = np.linalg.lstsq(X, y, rcond=None)[0]
    z = draw.standard_normal(d)
    null = z - np.linalg.lstsq(X, X @ z, rcond=None)[0]
    return X, y, w + 0.5 * np.linalg.norm(w) * null / np.linalg.norm(null)


def flops(workload: Workload, reduced: bool) -> float:
    """Multiplications and additions of a replica's step, the drawing of random numbers left out."""
    n, batch = workload.n, workload.batch
    width = n if reduced else workload.d
    if workload.kind == "sde":
        return 2.0 * n * n + 20 * n if reduced else 4.0 * n * width + 20 * n
    if workload.kind == "separable":
        return (2.0 + 4) * batch * width
    return (2.0 * batch + 1) * n if reduced else 4.0 * batch * width + 3 * width


def traffic(workload: Workload, reduced: bool) -> float:
    """Bytes that a replica's step loads and stores, wherever they lie."""
    size, n, batch = np.dtype(workload.precision).itemsize, workload.n, workload.batch
    width = n if reduced else workload.d
    if workload.kind == "sde":
        return size * (n * n / 8 if reduced else 2.0 * n * width)
    passes = 1 if reduced else 2
    return size * (passes * batch * width + 2.0 * width)
