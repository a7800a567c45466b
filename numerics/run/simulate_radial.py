"""F(u) = g(|u|) u in `simulate`: a ray of minima, and paths in the n + 1 coordinates of C12."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from numerics import start
from numerics.dynamics import Dynamics, PlaneEulerMaruyama, compact
from numerics.noise_laws import isotropic_rates
from numerics.predictions import Law
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.ray_law import RayLaw
from numerics.run.radial_system import RadialSystem
from numerics.run.simulate_base import FloatArray, Scene
from numerics.slow_dynamics import SlowLaw

if TYPE_CHECKING:
    import xarray

#: rho falls to this share of rho0 in `auto` steps, and with --small; for the scheme of second order, which costs more
_TARGETS, _SDE_TARGETS = (0.6, 0.8), (0.95, 0.98)


@dataclass(frozen=True, eq=False)
class RadialScene(Scene):
    """A choice on a problem with a ray of minima; a point of it is its rho."""

    base: RadialSystem

    def _ray(self, problem: Problem) -> RadialManifold:
        return RadialManifold(self.base.parametrization, problem.gram, problem.y, problem.norm_w_mn)

    @cached_property
    def manifold(self) -> RadialManifold:
        """The ray of minima."""
        return self._ray(self.minima)

    @cached_property
    def u(self) -> FloatArray:
        """Starting parameters ``(d,)``."""
        w = start.on_manifold(self.start_problem, self.rho0, self.base.direction)
        return start.radial_from_predictor(w, self._ray(self.start_problem).radius(self.rho0))

    @property
    def point(self) -> float:
        """rho0."""
        return self.rho0

    def least_limit(self, law: Law) -> float:
        """The least from the minimum-norm solution to the start."""
        return _of_ray(law).stability_limit(0.0, self.rho0)

    def drifted(self, law: Law) -> float:
        """Steps until rho has come to a share of rho0."""
        targets = _SDE_TARGETS if self.choice.dynamics == "sde2" else _TARGETS
        return _of_ray(law).steps_until(targets[self.settings.small], self.rho0, self.eta)

    def unit_spread(self) -> float:
        """Of rho, over rho0."""
        effective = self.eta / (1 - self.choice.momentum)
        unit = isotropic_rates(self.manifold, self.rho0, eta=effective, tau=1.0, d=self.problem.d)
        return float(np.sqrt(unit.variance)) / self.rho0

    @cached_property
    def coordinates(self) -> tuple[Problem, FloatArray]:
        """n + 1 of them, or d where noise leaves the span of the rows and the start; the reduced SDE starts from d."""
        if self.choice.noise in ("isotropic", "dropout") or self.choice.dynamics == "sde":
            return self.problem, self.u
        reduced = self.problem.reduced(self.base.direction)
        return compact(reduced), reduced.coordinates(self.u)

    def slow_law(self, law: Law) -> Dynamics:
        """d ln rho/dk."""
        return SlowLaw(_of_ray(law), self.eta, self.minima.reduced(self.base.direction))

    def euler_maruyama(self) -> Dynamics:
        """In n + 2 numbers: the same paths."""
        reduced = self.problem.reduced(self.base.direction)
        return PlaneEulerMaruyama(reduced, self.base.parametrization, self.scale, eta=self.eta)

    def relaxed(self, curves: "xarray.Dataset") -> "xarray.Dataset":
        """With rho_slow, in closed form."""
        slow = np.abs(self.manifold.relaxed(curves["nu"].values, curves["r"].values))
        name = "rho after relaxation onto the manifold of minima by gradient flow"
        curves["rho_slow"] = (("step", "replica"), slow, {"long_name": name, "units": "unit of w"})
        return curves

    @property
    def drifting(self) -> str:
        """That after relaxation, but under dropout, whose minima are not on the manifold."""
        return "rho" if self.choice.noise == "dropout" else "rho_slow"


def _of_ray(law: Law) -> RayLaw:
    assert isinstance(law, RayLaw)
    return law
