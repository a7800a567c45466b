"""w_j = F(theta_j) in `simulate`: a manifold of minima, paths in all coordinates."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from numerics import start
from numerics.dynamics import Dynamics, EulerMaruyama
from numerics.manifold_law import ManifoldLaw
from numerics.predictions import Law
from numerics.problem import Problem
from numerics.run.separable_system import SeparableSystem, separable_start
from numerics.run.simulate_base import FloatArray, Scene
from numerics.separable_manifold import SeparableManifold
from numerics.slow_dynamics import SlowLawOnManifold

if TYPE_CHECKING:
    import xarray

#: w moves by this share of |w| in `auto` steps, and with --small; for the SDE's schemes, which cost more
_TARGETS, _SDE_TARGETS = (0.2, 0.1), {"sde": (0.05, 0.1), "sde2": (0.02, 0.02)}


@dataclass(frozen=True, eq=False)
class SeparableScene(Scene):
    """A choice on a problem with a manifold of minima; a point of it is its u."""

    base: SeparableSystem

    @cached_property
    def manifold(self) -> SeparableManifold:
        """The manifold of minima."""
        return SeparableManifold(self.minima, self.base.parametrization)

    @cached_property
    def u(self) -> FloatArray:
        """Starting parameters ``(p,)``."""
        w = start.on_manifold(self.start_problem, self.rho0, self.base.direction)
        u = separable_start(self.base.parametrization, w, self.settings.depth)
        return SeparableManifold(self.start_problem, self.base.parametrization).onto_manifold(u)

    @cached_property
    def point(self) -> FloatArray:
        """The start, or where gradient flow takes it."""
        return self.manifold.relaxed(self.u) if self.choice.noise == "static" else self.u

    def least_limit(self, law: Law) -> float:
        """That at the start; the law refuses where it falls below eta on the way."""
        return _of_manifold(law).stability_limit(self.point)

    def drifted(self, law: Law) -> float:
        """Steps until w has moved by a share of |w|."""
        targets = _SDE_TARGETS.get(self.choice.dynamics, _TARGETS)
        return _of_manifold(law).steps_until_moved(targets[self.settings.small], self.point, self.eta)

    def unit_spread(self) -> float:
        """Of u along the manifold, over |u|."""
        effective = self.eta / (1 - self.choice.momentum)
        return float(effective * np.sqrt(self.u.size - self.problem.n) / np.linalg.norm(self.u))

    @property
    def coordinates(self) -> tuple[Problem, FloatArray]:
        """All of them."""
        return self.problem, self.u

    def slow_law(self, law: Law) -> Dynamics:
        """du/dk."""
        return SlowLawOnManifold(_of_manifold(law), self.eta)

    def euler_maruyama(self) -> Dynamics:
        """In all coordinates: no reduction exists."""
        return EulerMaruyama(self.problem, self.base.parametrization, self.scale, self.eta, False)

    def relaxed(self, curves: "xarray.Dataset") -> "xarray.Dataset":
        """As they are: what relaxation would change is of second order in the fluctuations, and in the law's margin."""
        return curves

    @property
    def drifting(self) -> str:
        """That of the iterate."""
        return "rho"


def _of_manifold(law: Law) -> ManifoldLaw:
    assert isinstance(law, ManifoldLaw)
    return law
