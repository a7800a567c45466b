"""The ray of minima of a radial parametrization: kernel, curvature, and where gradient flow lands on it (C1, C4, C5).

On it w = w_mn + rho zhat and K(r) = k_x(r) X X^T + k_y(r) y y^T. The functions of r are those that `theory.lower`
writes. `numerics.separable_manifold` is its like for the other parametrizations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.power_law import PowerLaw
from numerics.scalar_search import FINEST, root

if TYPE_CHECKING:
    from theory.parametrization import Radial

FloatArray = npt.NDArray[np.float64]
Scalar = Callable[..., float]

_SMALLEST_RHO = 1e-12  # relative to |w_mn|: below it the drift has done its work
_NEWTON_STEPS = 60


@dataclass(frozen=True, eq=False)
class RadialManifold:
    """The ray w_mn + rho zhat of minima of F(u) = g(|u|) u, and the tangent kernel on it.

    gram ``(n, n)`` = X X^T, y ``(n,)``, norm_w_mn = |w_mn|. A `PowerLaw` needs no sympy.
    """

    parametrization: "Radial | PowerLaw"
    gram: FloatArray
    y: FloatArray
    norm_w_mn: float

    @cached_property
    def functions(self) -> dict[str, Scalar]:
        """The lowered functions of r, and of (r, rho)."""
        if isinstance(self.parametrization, PowerLaw):
            return self.parametrization.functions
        from theory import lower

        return lower.python(lower.functions(self.parametrization))

    def radius(self, rho: float) -> float:
        """r = |u| at w_mn + rho zhat."""
        return self.radius_of_norm(float(np.hypot(self.norm_w_mn, rho)))

    def radius_of_norm(self, target: float) -> float:
        """r = |u| where |w| = r g(r) = target. Newton in ln r: exact at once for a power law."""
        norm, slope = self.functions["norm"], self.functions["norm_slope"]
        r = 1.0
        for _ in range(100):
            size = norm(r)
            step = (np.log(target) - np.log(size)) * size / (r * slope(r))
            r *= float(np.exp(np.clip(step, -2.0, 2.0)))
            if abs(step) < 4e-16 * max(1.0, abs(np.log(r))):
                return r
        if abs(norm(r) / target - 1) < 1e-12:
            return r
        raise InputError("|w|", target, "is out of reach of this parametrization", "choose a smaller rho0")

    @cached_property
    def _gains(self) -> tuple[Scalar, ...]:
        """g and its first two derivatives in r."""
        if isinstance(self.parametrization, PowerLaw):
            return self.parametrization.gains
        import sympy

        from theory import notation

        g = self.parametrization.g
        return tuple(sympy.lambdify(notation.r, g.diff(notation.r, order), modules="math") for order in range(3))

    def gain(self, r: float, order: int = 0) -> float:
        """g(r), or a derivative of it up to the second."""
        return float(self._gains[order](r))

    def kernel(self, rho: float) -> FloatArray:
        """K ``(n, n)`` at rho."""
        r = self.radius(rho)
        return self._combine(self.functions["kernel_gram"](r), self.functions["kernel_label"](r))

    def kernel_slope(self, rho: float) -> FloatArray:
        """dK/dr ``(n, n)`` at rho."""
        r = self.radius(rho)
        return self._combine(self.functions["kernel_gram_slope"](r), self.functions["kernel_label_slope"](r))

    def _combine(self, gram: float, label: float) -> FloatArray:
        return np.asarray(gram * self.gram + label * np.outer(self.y, self.y))

    def log_mobility(self, rho: float) -> float:
        """mobility / rho, the factor between G and the rate of ln rho; finite at rho = 0."""
        safe = max(rho, _SMALLEST_RHO * self.norm_w_mn)
        return self.functions["mobility"](self.radius(safe), safe) / safe

    def trace_hessian(self, rho: float) -> float:
        """psi = tr H = tr K / n on the ray."""
        return float(np.trace(self.kernel(rho)) / self.y.size)

    def trace_hessian_slope(self, rho: float) -> float:
        """d psi / dr; its sign is that of the small-eta drift towards w_mn."""
        return float(np.trace(self.kernel_slope(rho)) / self.y.size)

    def selects_minimum_norm(self) -> bool:
        """C5 at small eta: whether tr H falls all the way to w_mn along the ray."""
        return self.trace_hessian_slope(0.0) >= 0

    def flattest_rho(self, rho_max: float) -> float:
        """rho of least tr H on [0, rho_max], where the small-eta drift stops; 0 if w_mn is selected."""
        if self.selects_minimum_norm():
            return 0.0
        if self.trace_hessian_slope(rho_max) <= 0:
            return rho_max
        return root(self.trace_hessian_slope, 0.0, rho_max, xtol=1e-14, rtol=FINEST)

    def log_invariant(self, r: float) -> float:
        """The integral of g'/(g + r g') that makes ln nu - log_invariant(r) constant under any flow along gradients."""
        if "log_invariant" in self.functions:
            return self.functions["log_invariant"](r)
        from scipy.integrate import quad

        norm, slope = self.functions["norm"], self.functions["norm_slope"]
        return float(quad(lambda t: (slope(t) - norm(t) / t) / (t * slope(t)), 1.0, r, epsabs=1e-13, epsrel=1e-12)[0])

    def relaxed(self, nu: FloatArray, r: FloatArray) -> FloatArray:
        """rho where gradient flow from null coordinate nu ``(...)`` and norm r ``(...)`` meets the manifold.

        Exact: the flow conserves ln nu - log_invariant(r), and on the ray that is an increasing function of rho.
        Derived in `theory.scalar_law`. NaN where nu or r is; the sign of nu is kept.
        """
        rho = np.array(np.broadcast_to(nu, np.broadcast_shapes(np.shape(nu), np.shape(r))), dtype=np.float64)
        moving = np.isfinite(rho) & np.isfinite(r) & (rho != 0)
        size, radius = np.abs(rho[moving]), np.broadcast_to(r, rho.shape)[moving]
        target = np.log(size) - self._log_invariants(radius)
        rho[moving] = np.copysign(
            self._on_ray(target, np.log(size * self._arrays["norm"](radius) / radius)), rho[moving]
        )
        rho[~np.isfinite(r)] = np.nan
        return rho

    @cached_property
    def _arrays(self) -> dict[str, Callable[[FloatArray], FloatArray]]:
        """norm, norm_slope and, where it is closed, log_invariant, for arrays of r."""
        names = ("norm", "norm_slope", "log_invariant")
        if isinstance(self.parametrization, PowerLaw):
            return {name: np.vectorize(self.functions[name], otypes=[float]) for name in names}
        import sympy

        from theory import lower

        table = lower.functions(self.parametrization)
        return {name: sympy.lambdify(*table[name], modules="numpy") for name in names if name in table}

    def _log_invariants(self, r: FloatArray) -> FloatArray:
        if "log_invariant" in self._arrays:
            return np.asarray(self._arrays["log_invariant"](r)) * np.ones_like(r)
        return np.array([self.log_invariant(float(x)) for x in r])

    def _on_ray(self, target: FloatArray, log_rho: FloatArray) -> FloatArray:
        """rho ``(m,)`` at which the invariant on the ray has the target values; Newton in ln rho."""
        for _ in range(_NEWTON_STEPS):
            value, slope = self._invariant_on_ray(np.exp(log_rho))
            step = np.clip((target - value) / slope, -1.0, 1.0)
            log_rho = log_rho + step
            if not np.any(np.abs(step) > 1e-14 * np.maximum(1.0, np.abs(log_rho))):
                break
        return np.exp(log_rho)

    def _invariant_on_ray(self, rho: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The invariant at w_mn + rho zhat, and its derivative in ln rho."""
        size = np.hypot(self.norm_w_mn, rho)
        r = self._radii(size)
        slope = self._arrays["norm_slope"](r)
        excess = slope - size / r
        value = np.log(rho * r / size) - self._log_invariants(r)
        return value, 1.0 - excess * (1 / size + 1 / (r * slope)) * rho**2 / (size * slope)

    def _radii(self, target: FloatArray) -> FloatArray:
        """`radius_of_norm` for arrays."""
        log_r = np.zeros_like(target)
        for _ in range(_NEWTON_STEPS):
            r = np.exp(log_r)
            size = self._arrays["norm"](r)
            step = np.clip(np.log(target / size) * size / (r * self._arrays["norm_slope"](r)), -2.0, 2.0)
            log_r = log_r + step
            if not np.any(np.abs(step) > 4e-16 * np.maximum(1.0, np.abs(log_r))):
                break
        return np.asarray(np.exp(log_r))
