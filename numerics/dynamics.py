"""Dynamics beside plain label-noise SGD, from their definitions: heavy ball, weight decay, isotropic noise, flips,
the SDE.

Both models here have the interface of `numerics.sgd.Model`, so that `numerics.sgd.simulate` runs them. They work in
all the coordinates of the problem given; `compact` gives the problem in the n + 1 coordinates of C12. Imports no
law.
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
import numpy.typing as npt

from numerics import streams
from numerics.errors import InputError
from numerics.problem import Problem, Reduced
from numerics.sgd import DIVERGED, Noise
from numerics.specialise import specialise
from theory.parametrization import Radial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a step has beside label noise; 0 means absent.

    ``momentum`` beta of p <- beta p + gradient, ``weight_decay`` lambda, ``isotropic`` the standard deviation of
    Gaussian noise on every component of the gradient, ``flip`` the probability that a label +-1 is flipped in a
    step under cross-entropy.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    isotropic: float = 0.0
    flip: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise InputError("momentum", self.momentum, "is not in [0, 1)", "give a number below 1")
        if self.flip is not None and not 0 <= self.flip < 0.5:
            raise InputError("flip", self.flip, "is not in [0, 1/2)", "flip fewer than half of the labels")


@dataclass(frozen=True, eq=False)
class VariantSGD:
    """SGD with a variant's terms: states (u, p) ``(R, 2 d)``. With ``flip`` set, y are labels +-1 and the loss is
    cross-entropy.
    """

    problem: Problem
    parametrization: Radial
    scale: float
    variant: Variant

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("variants", self.parametrization)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, 2 d)`` of u ``(d,)``, momentum 0."""
        return np.tile(np.concatenate([u, np.zeros_like(u)]), (replicas, 1))

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""
        v, key = self.variant, np.array(streams.key(noise.seed), np.uint64)
        data = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, noise.batch, noise.sigma)
        terms = (v.momentum, v.weight_decay, v.isotropic, v.flip or 0.0, v.flip is not None)
        limit = (DIVERGED * self.scale) ** 2
        self.kernel.advance(states, replicas, *data, *terms, limit, key, streams.PURPOSES["sgd"], first_step)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """loss, test_loss, nu = |P_N u|, r = |u|."""
        return observe(self.problem, self.kernel, states[:, : self.problem.d], self.variant.flip is not None)


@dataclass(frozen=True, eq=False)
class EulerMaruyama:
    """The SDE of label-noise SGD at learning rate eta: states u ``(R, d)``; a schedule's eta(k) is the length of
    time step k.

    ``corrected``: second weak order, the drift of L + (eta/4)|grad L|^2 (Li, Tai, E 2017).
    """

    problem: Problem
    parametrization: Radial
    scale: float
    eta: float
    corrected: bool

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("sde", self.parametrization)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, d)`` of u ``(d,)``."""
        return np.tile(np.asarray(u, float), (replicas, 1))

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""
        key, limit = np.array(streams.key(noise.seed), np.uint64), (DIVERGED * self.scale) ** 2
        data = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, self.eta, self.corrected)
        purpose = streams.PURPOSES["sgd"]
        self.kernel.advance(states, replicas, *data, noise.batch, noise.sigma, limit, key, purpose, first_step)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """loss, test_loss, nu = |P_N u|, r = |u|."""
        return observe(self.problem, self.kernel, states, False)


def observe(problem: Problem, kernel: ModuleType, u: FloatArray, classify: bool) -> dict[str, FloatArray]:
    """Observables of u ``(R, d)``; the loss is that of clean labels."""
    level = np.array([kernel.gain.py_func(float(point @ point)) for point in u])
    w = level[:, None] * u
    return {
        "loss": cross_entropy(problem, w) if classify else problem.train_loss(w),
        "test_loss": problem.test_loss(w),
        "nu": np.linalg.norm(problem.null_part(u), axis=1),
        "r": np.linalg.norm(u, axis=1),
    }


def cross_entropy(problem: Problem, w: FloatArray) -> FloatArray:
    """Mean of ln(1 + exp(-y f)) over the rows, of ``w (R, d)``; NaN where w is."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.mean(np.logaddexp(0.0, -problem.y * (w @ problem.X.T)), axis=1))


def compact(reduced: Reduced) -> Problem:
    """The problem in the n + 1 coordinates of C12: rows (factor, 0), the null direction last. Paths are the
    same (C12).
    """
    return Problem(np.pad(reduced.factor, ((0, 0), (0, 1))), reduced.y)
