"""The SDE of label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers of C12, by Euler-Maruyama. Imports no law.

A step costs one product with X X^T, whatever d; `numerics.dynamics.EulerMaruyama` is the same in all coordinates.
"""

from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType

import numpy as np

from numerics import streams
from numerics.inputs import not_negative, shaped
from numerics.sgd import FloatArray, IntArray, Noise, RadialSGD
from numerics.specialise import specialise


@dataclass(frozen=True, eq=False)
class ReducedEulerMaruyama(RadialSGD):
    """The SDE at learning rate eta (C14): states and observables of `RadialSGD`; a schedule's eta(k) is the length of
    time step k.
    """

    eta: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("eta", self.eta)

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("sde_reduced", self.parametrization)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""
        shaped(states, self.reduced.n + 2)
        key, limit = np.array(streams.key(noise.seed), np.uint64), self._square_limit()
        gram, y = self.gram.astype(self.precision), np.asarray(self.reduced.y)
        arguments = (gram, y, etas, self.eta, noise.batch, noise.sigma, limit)
        self.kernel.advance(states, replicas, *arguments, key, streams.PURPOSES["sgd"], first_step)
