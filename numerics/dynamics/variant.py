"""SGD and heavy ball under every noise model, from their definitions, for any parametrization."""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt

from numerics import streams
from numerics.dynamics.protocol import observed, parameters, predictors
from numerics.errors import InputError
from numerics.inputs import below_one, shaped, starts
from numerics.kernels import rows
from numerics.problem import Problem
from numerics.sgd import DIVERGED, Noise
from numerics.specialise import specialise
from theory.parametrization import Parametrization

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Sampling = Literal["with-replacement", "without-replacement", "shuffle"]
LabelNoise = Literal["gaussian", "rademacher", "student"]

SAMPLINGS: dict[str, int] = {
    "with-replacement": rows.WITH_REPLACEMENT,
    "without-replacement": rows.WITHOUT_REPLACEMENT,
    "shuffle": rows.EPOCHS,
}
LABEL_NOISE: dict[str, int] = {"gaussian": rows.GAUSSIAN, "rademacher": rows.RADEMACHER, "student": rows.STUDENT}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a step differs from plain label-noise SGD; 0 or None means absent.

    ``momentum`` beta of p <- beta p + gradient, ``weight_decay`` lambda, ``isotropic`` the standard deviation of
    Gaussian noise on every component of the gradient, ``flip`` the probability that a label +-1 is flipped in a step
    under cross-entropy, ``dropout`` the probability that an entry of a drawn input is put to 0 (the others are divided
    by 1 - dropout). ``label`` is the distribution of the fresh label noise, each of variance 1: ``student`` with
    ``freedom`` > 4 degrees of freedom, so that train losses have a variance. ``sampling``: a batch's rows with
    replacement, without, or as consecutive pieces of an order that is shuffled every epoch.

    Raises InputError for a value out of range.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    isotropic: float = 0.0
    flip: float | None = None
    dropout: float = 0.0
    label: LabelNoise = "gaussian"
    freedom: float = 8.0
    sampling: Sampling = "with-replacement"

    def __post_init__(self) -> None:
        for name in ("momentum", "dropout"):
            below_one(name, getattr(self, name))
        if self.flip is not None and not 0 <= self.flip < 0.5:
            raise InputError("flip", self.flip, "is not in [0, 1/2)", "flip fewer than half of the labels")
        if not self.freedom > 4:
            rule = "is not above 4: the train loss would have no variance"
            raise InputError("freedom", self.freedom, rule, "give more degrees of freedom, or gaussian noise")
        for name, known in (("label", LABEL_NOISE), ("sampling", SAMPLINGS)):
            if getattr(self, name) not in known:
                raise InputError(name, getattr(self, name), "is unknown", f"choose {', '.join(known)}")

    def require_batch(self, batch: int, n: int) -> None:
        """Raise InputError where batches of this size cannot be drawn from n rows."""
        if self.sampling != "with-replacement" and batch > n:
            raise InputError("batch", batch, f"exceeds the {n} rows", "lower it, or draw with replacement")
        if self.sampling == "shuffle" and n % batch:
            raise InputError("batch", batch, f"does not divide the {n} rows", "choose a divisor, or another sampling")


@dataclass(frozen=True, eq=False)
class VariantSGD:
    """SGD with a variant's terms: states (u, buffer) ``(R, 2 p)``. With ``flip`` set, y are labels +-1 and the loss is
    cross-entropy.
    """

    problem: Problem
    parametrization: Parametrization
    scale: float
    variant: Variant

    @property
    def random(self) -> bool:
        """Always: batches are."""
        return True

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("variants", self.parametrization)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, 2 p)`` of u ``(p,)``, momentum 0."""
        copies = starts(u, parameters(self.problem, self.parametrization), replicas)
        return np.hstack([copies, np.zeros_like(copies)])

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`. Raises InputError where the batch does not suit the sampling."""
        v, key = self.variant, np.array(streams.key(noise.seed), np.uint64)
        v.require_batch(noise.batch, self.problem.n)
        shaped(states, 2 * parameters(self.problem, self.parametrization))
        data = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, noise.batch, noise.sigma)
        draws = (SAMPLINGS[v.sampling], LABEL_NOISE[v.label], float(v.freedom))
        terms = (v.momentum, v.weight_decay, v.isotropic, v.flip or 0.0, v.flip is not None, v.dropout)
        limit = DIVERGED * self.scale
        self.kernel.advance(states, replicas, *data, *draws, *terms, limit, key, streams.PURPOSES["sgd"], first_step)

    def predictor(self, states: FloatArray) -> FloatArray:
        """w ``(R, d)``."""
        return predictors(self.parametrization, states[:, : states.shape[1] // 2], self.problem.d)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`; the loss is that of clean labels."""
        y, flip = np.asarray(self.problem.y), self.variant.flip
        targets = y * np.log((1 - flip) / flip) if flip else y
        u = states[:, : states.shape[1] // 2]
        return observed(self.problem, self.parametrization, u, targets, classify=flip is not None)
