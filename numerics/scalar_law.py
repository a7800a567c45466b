"""The slow law of radial parametrizations: Phase II as one scalar equation (C4, C5, C6).

On the manifold of minima w = w_mn + rho zhat, and under label-noise SGD

    d rho/dk = -(eta/2) G(r) mobility(r, rho),    G = (1/n) tr( dK/dr K^-1 C ),

with K(r) = k_x(r) X X^T + k_y(r) y y^T and C(r) the stationary covariance of C2: exact in eta and B at small noise. The
small-eta limit puts C = (eta sigma^2 / 2B) K. The functions of r are those that `theory.lower` writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.inputs import drawable, in_order, not_negative
from numerics.noise_floor import Fluctuations, floor_small_eta, stability_limit
from numerics.radial_manifold import RadialManifold
from numerics.scalar_search import FINEST, root
from numerics.schedule import Schedule

FloatArray = npt.NDArray[np.float64]
Scalar = Callable[..., float]

_RTOL = 1e-10


@dataclass(frozen=True)
class SlowState:
    """The slow law's answer at one rho: the floor of the train loss, and the sizes of what the law neglects.

    ``lag`` is the first quasistatic term of ln rho: what C owes to its past. ``spread`` = tr C / |y|^2 is the relative
    variance of the predictions. ``neglected_rate``, of ln rho per step, is of the next order in sigma^2: the spread
    times the rate, plus what the mean residual adds to it. The latter grows where K is ill-conditioned.
    """

    floor: float
    lag: float
    spread: float
    neglected_rate: float


@dataclass(frozen=True)
class SlowPath:
    """The law along a run, each ``(steps,)``: rho, floor, test loss, the small-eta limit's, the first neglected term.

    ``remainder`` is its size in ln rho; ``test_loss`` is R on the manifold plus its share of the fluctuations, NaN
    where the law's maker knew no test loss.
    """

    step: npt.NDArray[np.int64]
    rho: FloatArray
    floor: FloatArray
    rho_small_eta: FloatArray
    floor_small_eta: FloatArray
    remainder: FloatArray
    test_loss: FloatArray


@dataclass(frozen=True, eq=False)
class RadialLaw:
    """The slow law on a ray of minima for label-noise SGD with batch size and label-noise standard deviation sigma.

    Raises InputError for a batch that is no integer of at least 1, or a sigma that is negative or not finite.
    """

    manifold: RadialManifold
    batch: int
    sigma: float

    def __post_init__(self) -> None:
        drawable(self.batch, self.sigma)

    def state(self, rho: float, eta: float) -> SlowState:
        """Floor and neglected terms at rho. Raises InputError above the stability limit there."""
        manifold, n = self.manifold, self.manifold.y.size
        K = manifold.kernel(rho)
        fluctuations = Fluctuations(K, eta, self.batch)
        C = fluctuations.covariance(self.sigma)
        pull = np.linalg.solve(K, manifold.kernel_slope(rho)) * (eta / (2 * n) * manifold.log_mobility(rho))
        mean = self.mean_residual(rho, C)
        spread = float(np.trace(C) / (manifold.y @ manifold.y))
        return SlowState(
            floor=float(np.trace(C) / (2 * n)),
            lag=float(np.sum(pull * fluctuations.accumulated(C))),
            spread=spread,
            neglected_rate=spread * abs(float(np.sum(pull * C))) + abs(float(mean @ pull @ mean)),
        )

    def mean_residual(self, rho: float, C: FloatArray) -> FloatArray:
        """E q ``(n,)`` = -(n/2) K^-1 A h to leading order in eta: the mean gradient balances the normal part of h.

        h = (2/n) sum_ij (K^-1 C)_ji grad^2 f_i g_j, with g_j = g x_j + (g'/r) s_j u and s = X u = y/g.
        """
        manifold = self.manifold
        r, X2, s = manifold.radius(rho), manifold.gram, manifold.y / manifold.gain(manifold.radius(rho))
        g, first, second = (manifold.gain(r, order) for order in range(3))
        k, N = first / r, g + r * first
        K = manifold.kernel(rho)
        weights = np.linalg.solve(K, C).T  # of grad^2 f_i g_j
        inner = g * X2 + k * np.outer(s, s)  # x_i . g_j
        pulled = k * N * (inner @ weights @ s + np.sum(weights * inner) * s) + k * K @ (weights.T @ s)
        pulled += (second - k) * (N / r) ** 2 * (s @ weights @ s) * s
        return np.asarray(-np.linalg.solve(K, pulled), dtype=np.float64)

    def log_rate(self, rho: float, eta: float) -> float:
        """d ln rho / dk at any eta and batch."""
        manifold = self.manifold
        K = manifold.kernel(rho)
        C = Fluctuations(K, eta, self.batch).covariance(self.sigma)
        G = float(np.sum(np.linalg.solve(K, manifold.kernel_slope(rho)) * C)) / manifold.y.size
        return -(eta / 2) * G * manifold.log_mobility(rho)

    def log_rate_small_eta(self, rho: float, eta: float) -> float:
        """d ln rho / dk in the limit eta -> 0: C = (eta sigma^2 / 2B) K, G = (eta sigma^2 / 2B) dpsi/dr."""
        slope = self.manifold.trace_hessian_slope(rho)
        return -(eta**2 * self.sigma**2 / (4 * self.batch)) * slope * self.manifold.log_mobility(rho)

    def stability_limit(self, rho_low: float, rho_high: float) -> float:
        """The least stability limit (C9) over rho in [rho_low, rho_high]."""
        limit = float("inf")
        for rho in np.linspace(rho_high, rho_low, 9):  # the limit is searched for only where the last one is passed
            K = self.manifold.kernel(float(rho))
            if np.isinf(limit) or not Fluctuations(K, limit, self.batch).stable:
                limit = min(limit, stability_limit(K, batch=self.batch))
        return limit

    def predictor_spread(self, rho: float, eta: float, rows: FloatArray) -> FloatArray:
        """Covariance ``(n + 1, n + 1)`` of c = (Q w, zhat . w) around the manifold; rows ``(n, n)`` = X Q^T.

        w moves by J J^T X^T K^-1 q when the residual is q, with J J^T = g^2 + ((r g)'^2 - g^2) uhat uhat^T.
        """
        r = self.manifold.radius(rho)
        norm, slope = self.manifold.functions["norm"](r), self.manifold.functions["norm_slope"](r)
        level = norm / r
        K = self.manifold.kernel(rho)
        c = np.append(np.linalg.solve(rows, self.manifold.y), rho) / norm
        moved = level**2 * np.vstack([rows.T, np.zeros(len(rows))])
        moved += (slope**2 - level**2) * np.outer(c, self.manifold.y / norm)
        W = np.linalg.solve(K, moved.T).T
        return np.asarray(W @ Fluctuations(K, eta, self.batch).covariance(self.sigma) @ W.T)

    def path(self, rho0: float, schedule: Schedule, steps: npt.NDArray[np.int64] | list[int]) -> SlowPath:
        """The law from rho0 at steps[0] along increasing step numbers, in both forms.

        Raises InputError where eta passes the stability limit on the way.
        """
        from scipy.integrate import cumulative_trapezoid

        steps = in_order(steps)
        not_negative("rho0", rho0)
        rho = self.solve(self.log_rate, rho0, schedule, steps)
        small = self.solve(self.log_rate_small_eta, rho0, schedule, steps)
        etas = schedule(steps)
        states = [self.state(a, eta) for a, eta in zip(rho, etas, strict=True)]
        floors = [self._floor_small(a, eta) for a, eta in zip(small, etas, strict=True)]
        neglected = cumulative_trapezoid([state.neglected_rate for state in states], steps, initial=0.0)
        return SlowPath(
            step=steps,
            rho=rho,
            floor=np.array([state.floor for state in states]),
            rho_small_eta=small,
            floor_small_eta=np.array(floors),
            remainder=np.abs([state.lag for state in states]) + neglected,
            test_loss=np.full(len(steps), np.nan),
        )

    def _floor_small(self, rho: float, eta: float) -> float:
        return floor_small_eta(self.manifold.kernel(rho), eta=eta, batch=self.batch, sigma=self.sigma)

    def solve(
        self, log_rate: Callable[[float, float], float], rho0: float, schedule: Schedule, steps: npt.NDArray[np.int64]
    ) -> FloatArray:
        """rho at increasing step numbers ``(steps,)``: ln rho integrated between the schedule's kinks."""
        if rho0 == 0 or self.sigma == 0:
            return np.full(len(steps), float(rho0))
        kinks = [k for k in schedule.breakpoints if steps[0] < k < steps[-1]]
        edges = [int(steps[0]), *kinks, int(steps[-1])]
        value, pieces = float(np.log(rho0)), [np.array([np.log(rho0)])]
        for begin, end in pairwise(edges):
            wanted = steps[(steps > begin) & (steps <= end)]
            values, value = _integrate(log_rate, value, schedule, begin, end, wanted)
            pieces.append(values)
        return np.asarray(np.exp(np.concatenate(pieces)))

    def steps_between(self, rho_start: float, rho_end: float, eta: float) -> float:
        """Steps from rho_start to rho_end: the quadrature of 1/|d rho/dk| (C6); inf where the drift stops before.

        Proportional to B/(eta^2 sigma^2) at small eta. Raises InputError unless 0 < rho_end <= rho_start or both are 0.
        """
        if not (0 < rho_end <= rho_start or rho_end == rho_start == 0):
            rule, remedy = f"is not between 0 and rho_start = {rho_start:g}", "the drift lowers rho; 0 it never reaches"
            raise InputError("rho_end", rho_end, rule, remedy)
        if self.sigma == 0 or rho_start == 0:
            return float("inf")
        grid = np.linspace(np.log(rho_end), np.log(rho_start), 33)
        if any(self.log_rate(float(np.exp(x)), eta) >= 0 for x in grid):
            return float("inf")
        from scipy.integrate import quad

        integral = quad(lambda x: -1 / self.log_rate(float(np.exp(x)), eta), grid[0], grid[-1], epsrel=1e-9, limit=200)
        return float(integral[0])

    def resting_rho(self, rho0: float, eta: float) -> float:
        """Where the drift from rho0 stops at this eta (C5): 0, or the first zero of the rate below rho0."""
        low = 1e-6 * self.manifold.norm_w_mn
        grid = np.exp(np.linspace(np.log(rho0), np.log(low), 65))
        rates = [self.log_rate(float(rho), eta) for rho in grid]
        if rates[0] >= 0:
            return float(rho0)
        for inner, outer, rate in zip(grid[1:], grid[:-1], rates[1:], strict=True):
            if rate >= 0:
                return root(lambda rho: self.log_rate(rho, eta), inner, outer, xtol=1e-14, rtol=FINEST)
        return 0.0


def _integrate(
    log_rate: Callable[[float, float], float],
    start: float,
    schedule: Schedule,
    begin: int,
    end: int,
    wanted: npt.NDArray[np.int64],
) -> tuple[FloatArray, float]:
    """ln rho at the wanted steps in (begin, end], and at end, from ln rho = start at begin."""

    def rate(k: float, x: FloatArray) -> list[float]:
        eta = float(schedule(min(max(k, begin), end - 1)))
        return [log_rate(float(np.exp(x[0])), eta)]

    from scipy.integrate import solve_ivp

    times = np.union1d(wanted, [end])
    result = solve_ivp(rate, (begin, end), [start], method="DOP853", t_eval=times, rtol=_RTOL, atol=1e-12)
    if not result.success:
        raise ArithmeticError(f"the slow law could not be integrated: {result.message}")
    values = result.y[0]
    return values[: len(wanted)], float(values[-1])
