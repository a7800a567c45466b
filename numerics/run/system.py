"""A job's settings resolved: problem, starting point, learning rate, simulator and law side by side."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from numerics import data, noise_floor, start
from numerics.errors import InputError
from numerics.gradient_flow import Flow, radial_flow, separable_flow
from numerics.problem import Problem, Reduced
from numerics.run.settings import AUTO_RHO, AUTO_RHO0, Settings
from numerics.scalar_law import RadialLaw, RadialManifold, SlowPath
from numerics.schedule import Constant, Schedule
from numerics.sgd import Noise, RadialSGD, SeparableSGD, simulate
from numerics.slow_law import SeparableLaw
from theory import lower
from theory.parametrization import Coordinatewise, DiagonalNetwork, Parametrization, Radial, named

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DEFAULT_ROWS = 20
SMALL_ROWS = 8
_OFFSET = 0.5  # of the diagonal power network, in units of the root-mean-square of the factors: no factor starts at zero
_MAX_AUTO_STEPS = 2e9
_MIN_AUTO_STEPS = 2000


def load_problem(settings: Settings) -> Problem:
    """The data as a problem. A file is taken whole unless n is given."""
    n = DEFAULT_ROWS if settings.n is None and settings.data in data.NAMES else settings.n
    if settings.small and settings.data in data.NAMES:
        n = min(n or SMALL_ROWS, SMALL_ROWS)
    return data.load(settings.data, n=n, seed=settings.seed, features=settings.features, target=settings.target)


def load_parametrization(settings: Settings) -> Parametrization:
    """The named parametrization. Raises InputError."""
    try:
        return named(settings.parametrization, settings.depth)
    except ValueError as error:
        name, _, rest = str(error).partition(" = ")
        value, _, rule = rest.partition(" is ")
        rule, _, remedy = rule.partition("; ")
        raise InputError(name, value.strip("'"), f"is {rule}", remedy) from None


def make_system(settings: Settings) -> "System":
    """Problem, parametrization and start of a job. Raises InputError."""
    problem = load_problem(settings)
    parametrization = load_parametrization(settings)
    direction = start.null_direction(problem, settings.seed, _null_source(problem))
    rho0 = AUTO_RHO0 * problem.norm_w_mn if settings.rho0 == "auto" else settings.rho0
    kind = RadialSystem if isinstance(parametrization, Radial) else SeparableSystem
    return kind(settings, problem, parametrization, direction, float(rho0))


def _null_source(problem: Problem) -> FloatArray | None:
    """A start that came with the data sets the direction, where it has the right length."""
    return problem.u0 if problem.u0 is not None and problem.u0.shape == (problem.d,) else None


@dataclass(frozen=True, eq=False)
class System:
    """A problem under SGD and under the law. Subclasses know the parametrization."""

    settings: Settings
    problem: Problem
    parametrization: Any
    direction: FloatArray
    rho0: float

    @cached_property
    def eta(self) -> float:
        """The large learning rate: as given, or a share of the stability limit."""
        if self.settings.eta == "auto":
            return self.settings.eta_fraction * self.stability_limit
        return self.settings.eta

    @property
    def noise(self) -> Noise:
        """Batch, label noise and seed."""
        return Noise(self.settings.batch, self.settings.sigma, self.settings.seed)

    @cached_property
    def reduced(self) -> Reduced:
        """The problem in span(rows of X, direction)."""
        return self.problem.reduced(self.direction)

    def require_stable(self) -> None:
        """Raise InputError where eta exceeds the stability limit, unless forced."""
        if self.eta > self.stability_limit and not self.settings.force:
            rule = f"exceeds the mean-square stability limit {self.stability_limit:.6g} of this problem"
            raise InputError("eta", self.eta, rule, "lower eta, raise the batch size, or --force to watch it diverge")

    @property
    def stable(self) -> bool:
        """Whether the law exists at the large learning rate."""
        return self.eta <= self.stability_limit

    @property
    def stability_limit(self) -> float:
        """The mean-square stability limit (C9), the least along the way."""
        raise NotImplementedError

    def duration(self) -> int:
        """Steps of the large-learning-rate phase: as given, or from the law (C6)."""
        if self.settings.steps != "auto":
            return self.settings.steps
        steps = self.auto_duration() if self.stable and self.settings.sigma > 0 else float(_MIN_AUTO_STEPS)
        if not steps <= _MAX_AUTO_STEPS:
            rule = f"would take {steps:.3g} steps by the law"
            raise InputError("steps", "auto", rule, "give --steps, a larger --sigma, or --depth above 1")
        return max(int(steps), _MIN_AUTO_STEPS)

    def simulate(
        self, states: FloatArray, schedule: Schedule, steps: IntArray, tick: Callable[[int], Any]
    ) -> dict[str, FloatArray]:
        """Observables ``(steps, R)`` of SGD from states, advanced in place. ``rho_slow`` is what the law speaks of."""
        table = simulate(self.model, states, schedule, steps, noise=self.noise, threads=self.settings.threads, tick=tick)
        table["rho_slow"] = self.slow_rho(table)
        return table

    def problem_record(self) -> dict[str, object]:
        """The `problem` block of summary.json."""
        return {
            "name": self.problem.name,
            "n": self.problem.n,
            "d": self.problem.d,
            "depth": self.settings.depth,
            "parametrization": self.settings.parametrization,
            "norm_w_mn": self.problem.norm_w_mn,
            "norm_w_star": self.problem.norm_w_star,
            "stability_limit_eta": self.stability_limit,
            "condition_number": self.problem.condition_number,
            "stable_rank": self.problem.stable_rank,
            "test_loss": self.problem.test_kind,
            **self.selection_record(),
        }


@dataclass(frozen=True, eq=False)
class RadialSystem(System):
    """F(u) = g(|u|) u: exact reduced SGD and the scalar law."""

    parametrization: Radial

    @cached_property
    def manifold(self) -> RadialManifold:
        """The ray of minima."""
        return RadialManifold(self.parametrization, self.problem.gram, self.problem.y, self.problem.norm_w_mn)

    @cached_property
    def law(self) -> RadialLaw:
        """The slow law."""
        return RadialLaw(self.manifold, self.settings.batch, self.settings.sigma)

    @cached_property
    def stability_limit(self) -> float:
        """The least limit over rho in [0, rho0]."""
        return self.law.stability_limit(0.0, self.rho0)

    @cached_property
    def model(self) -> RadialSGD:
        """SGD in reduced coordinates."""
        return RadialSGD(self.reduced, self.parametrization, float(np.hypot(self.problem.norm_w_mn, self.rho0)))

    def states_on_manifold(self) -> FloatArray:
        """Every replica at w_mn + rho0 zhat."""
        w = start.on_manifold(self.problem, self.rho0, self.direction)
        u = start.radial_from_predictor(w, self.manifold.radius(self.rho0))
        return self.model.start(u, self.settings.replicas)

    def random_states(self) -> FloatArray:
        """Every replica at one random start with |w| = rho0, off the manifold; its part in ker X points along zhat."""
        u = start.random_start(self.problem, 1.0, self.settings.seed)
        null = float(np.linalg.norm(self.problem.null_part(u)))
        u = u - self.problem.null_part(u) + null * self.direction
        return self.model.start(u * self.manifold.radius_of_norm(self.rho0), self.settings.replicas)

    def flow(self, state: FloatArray, times: FloatArray) -> Flow:
        """Gradient flow from one replica's state."""
        return radial_flow(self.model, state, times)

    def _rho_of(self, end: FloatArray) -> float:
        """rho on the manifold that the flow's point ``(n + 1,)`` relaxes to."""
        return float(abs(self.manifold.relaxed(end[-1], np.linalg.norm(end))))

    def floor_at(self, flow: Flow) -> float:
        """The floor where the flow ends."""
        return self.law.state(self._rho_of(flow.end), self.eta).floor

    def floor_after(
        self, flow: Flow, table: dict[str, FloatArray], steps: IntArray, late: npt.NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Steps and floor along the slow path that leaves from the rho observed at the first late record."""
        if not self.stable:
            return steps[late].astype(float), np.full(len(late), np.nan)
        rho = float(np.nanmean(table["rho_slow"][late[0]]))
        return steps[late].astype(float), self.law.path(rho, Constant(self.eta), steps[late]).floor

    def slowest_mode_rate(self, state: FloatArray) -> tuple[float, float]:
        """Rate at which the slowest residual mode dies out without noise, from a state; and lambda_min(K) (C7)."""
        ends = self.flow(state, np.array([0.0, 1.0])).end
        K = self.manifold.kernel(self._rho_of(ends))
        return _slowest_mode_rate(lambda times: self.flow(state, times), K)

    def test_loss_remainder(self, law: SlowPath) -> float:
        """What rho's neglected term and the fluctuations' own share amount to in the final test loss."""
        rho = float(law.rho[-1])
        bare = float(self.reduced.test_loss(self.point(rho)))
        shifted = float(self.reduced.test_loss(self.point(rho * (1 + float(law.remainder[-1])))))
        return abs(shifted - bare) + abs(float(law.test_loss[-1]) - bare)

    def largest_rise(self) -> float:
        """C8: R at w_mn less its least value on the ray, 1/2 rho*^2 for an isotropic test loss."""
        if self.reduced.T is None:
            return float("nan")
        along = self.reduced.T[:, -1]
        gap = along @ (self.reduced.t - self.reduced.T @ self.reduced.c_mn)
        best = max(0.0, float(gap / (along @ along)))
        return 0.5 * best**2 * float(along @ along)

    def slow_rho(self, table: dict[str, FloatArray]) -> FloatArray:
        """rho after relaxation onto the manifold, in closed form."""
        return np.abs(self.manifold.relaxed(table["nu"], table["r"]))

    def path(self, schedule: Schedule, steps: IntArray) -> SlowPath:
        """The law from rho0."""
        path = self.law.path(self.rho0, schedule, steps)
        pairs = zip(path.rho, schedule(steps), strict=True)
        return replace(path, test_loss=np.array([self.test_loss(rho, float(eta)) for rho, eta in pairs]))

    def test_loss(self, rho: float, eta: float) -> float:
        """R at w_mn + rho zhat plus what the fluctuations at eta add to a quadratic."""
        loss = float(self.reduced.test_loss(self.point(rho)))
        if self.reduced.T is None or self.settings.sigma == 0:
            return loss
        spread = self.law.predictor_spread(rho, eta, self.reduced.factor)
        return loss + 0.5 * float(np.trace(self.reduced.T @ spread @ self.reduced.T.T))

    def point(self, rho: float) -> FloatArray:
        """w_mn + rho zhat in reduced coordinates, ``(n + 1,)``."""
        return self.reduced.c_mn + rho * np.eye(self.reduced.n + 1)[-1]

    @cached_property
    def resting_rho(self) -> float:
        """Where the drift stops at the large learning rate (C5 at finite eta)."""
        if not self.stable or self.settings.sigma == 0 or self.settings.depth == 1:
            return self.rho0
        return self.law.resting_rho(self.rho0, self.eta)

    def auto_duration(self) -> float:
        """Steps until rho has come a stated share of its way (C6)."""
        target = self.resting_rho + AUTO_RHO * (self.rho0 - self.resting_rho)
        if target >= self.rho0:
            return float(_MIN_AUTO_STEPS)
        return self.law.steps_between(self.rho0, target, self.eta)

    def relaxation_steps(self, rho: float) -> float:
        """n / (eta lambda_min(K)): steps in which the slowest residual mode falls by e (C7)."""
        return float(self.problem.n / (self.eta * np.linalg.eigvalsh(self.manifold.kernel(rho))[0]))

    def selection_record(self) -> dict[str, object]:
        """C5 for this problem: small eta, and at the eta of the job."""
        return {
            "minimum_norm_selected": self.manifold.selects_minimum_norm(),
            "flattest_rho_small_eta": self.manifold.flattest_rho(self.rho0),
            "resting_rho": self.resting_rho,
        }

    def selection_text(self) -> str:
        """C5 for this problem in one line."""
        if self.settings.depth == 1:
            return "C5: depth 1 has one curvature everywhere: nothing drifts"
        if self.resting_rho == 0:
            return "C5: the minimum-norm point is selected: the drift goes on to rho = 0"
        if self.resting_rho == self.rho0:
            return "C5: nothing pulls rho down from rho0 here"
        return f"C5: the minimum-norm point is NOT selected: the drift stops at rho = {self.resting_rho:.4g}"


@dataclass(frozen=True, eq=False)
class SeparableSystem(System):
    """w_j = F(theta_j): SGD in all coordinates and the law in all parameters."""

    parametrization: Coordinatewise | DiagonalNetwork

    @cached_property
    def law(self) -> SeparableLaw:
        """The slow law."""
        return SeparableLaw(self.problem, self.parametrization, self.settings.batch, self.settings.sigma)

    @cached_property
    def u0(self) -> FloatArray:
        """Parameters ``(p,)`` of w_mn + rho0 zhat."""
        w = start.on_manifold(self.problem, self.rho0, self.direction)
        return self.law.onto_manifold(_separable_start(self.parametrization, w, self.settings.depth))

    @cached_property
    def stability_limit(self) -> float:
        """The limit at the start; the law refuses where it falls below eta on the way."""
        return self.law.stability_limit(self.u0)

    @cached_property
    def model(self) -> SeparableSGD:
        """SGD in all coordinates."""
        return SeparableSGD(self.problem, self.parametrization, float(np.hypot(self.problem.norm_w_mn, self.rho0)))

    def states_on_manifold(self) -> FloatArray:
        """Every replica at u0."""
        return self.model.start(self.u0, self.settings.replicas)

    def random_states(self) -> FloatArray:
        """Every replica at one random start with |w| = rho0, off the manifold."""
        w = start.random_start(self.problem, self.rho0, self.settings.seed)
        return self.model.start(_separable_start(self.parametrization, w, self.settings.depth), self.settings.replicas)

    def flow(self, state: FloatArray, times: FloatArray) -> Flow:
        """Gradient flow from one replica's state."""
        return separable_flow(self.model, state, times)

    def floor_at(self, flow: Flow) -> float:
        """The floor where the flow ends."""
        return noise_floor.floor(flow.kernel[-1], eta=self.eta, batch=self.settings.batch, sigma=self.settings.sigma)

    def floor_after(
        self, flow: Flow, table: dict[str, FloatArray], steps: IntArray, late: npt.NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Steps and floor along the slow path that leaves from the flow's end at step 0."""
        if not self.stable:
            return steps[late].astype(float), np.full(len(late), np.nan)
        u0 = self.law.onto_manifold(flow.end)
        path = self.law.path(u0, Constant(self.eta), np.append(0, steps[late]))
        return steps[late].astype(float), path.floor[1:]

    def slowest_mode_rate(self, state: FloatArray) -> tuple[float, float]:
        """Rate at which the slowest residual mode dies out without noise, from a state; and lambda_min(K) (C7)."""
        K = self.law.tangent(self.law.onto_manifold(state.ravel())).K
        return _slowest_mode_rate(lambda times: self.flow(state, times), K)

    def test_loss_remainder(self, law: SlowPath) -> float:
        """The fluctuations' share of the test loss, bounded by the mean train loss in the same units; and rho's term."""
        return float(law.test_loss[-1] * abs(law.remainder[-1]) + law.floor[-1])

    def largest_rise(self) -> float:
        """No ray, no bound."""
        return float("nan")

    def slow_rho(self, table: dict[str, FloatArray]) -> FloatArray:
        """|P_N w|; its O(eta) offset from the manifold is in the law's remainder."""
        return table["rho"]

    def path(self, schedule: Schedule, steps: IntArray) -> SlowPath:
        """The law from u0."""
        return self.law.path(self.u0, schedule, steps)

    def auto_duration(self) -> float:
        """Steps until the law has slowed to a stated share of its first speed."""
        return self.law.steps_until(AUTO_RHO, self.u0, self.eta)

    def relaxation_steps(self, rho: float) -> float:
        """n / (eta lambda_min(K)) at the start (C7)."""
        return float(self.problem.n / (self.eta * np.linalg.eigvalsh(self.law.tangent(self.u0).K)[0]))

    def selection_record(self) -> dict[str, object]:
        """The flattest point of this parametrization is not the minimum-norm one in general."""
        return {"minimum_norm_selected": None, "flattest_rho_small_eta": None, "resting_rho": None}

    def selection_text(self) -> str:
        """C5 concerns radial parametrizations."""
        return "C5: another implicit bias: the flattest point is not the minimum-norm one in general"


def _slowest_mode_rate(flow: Callable[[FloatArray], Flow], K: FloatArray) -> tuple[float, float]:
    """(rate, lambda_min): the projection of the residual on K's softest eigenvector, over two of its relaxation times."""
    values, vectors = np.linalg.eigh(K)
    time = len(K) / float(values[0])
    found = flow(np.array([0.0, 2.0, 4.0]) * time)
    along = np.abs(found.residual[1:] @ np.linalg.eigh(found.kernel[-1])[1][:, 0])
    return float(len(K) * np.log(along[0] / along[1]) / (2 * time)), float(np.linalg.eigvalsh(found.kernel[-1])[0])


def _separable_start(parametrization: Coordinatewise | DiagonalNetwork, w: FloatArray, depth: float) -> FloatArray:
    """u ``(p,)`` with F(u) = w: the balanced factors of a diagonal network, or the inverse of f."""
    if parametrization.name == "diagonal-product":
        return start.diagonal_product_from_predictor(w)
    if isinstance(parametrization, DiagonalNetwork):
        size = float(np.mean(np.abs(w) ** (2 / depth)) ** 0.5)
        return start.diagonal_power_from_predictor(w, depth, offset=_OFFSET * size)
    functions = lower.python(lower.functions(parametrization))
    value, slope = np.vectorize(functions["value"], otypes=[float]), np.vectorize(functions["slope_u"], otypes=[float])
    return start.separable_from_predictor(value, slope, w, parameter="rho0")
