"""w_j = F(theta_j) in a job: SGD in all coordinates beside the law in all parameters."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from numerics import noise_floor, start
from numerics.gradient_flow import Flow, separable_flow
from numerics.run.base_system import FloatArray, IntArray, System, slowest_mode_rate
from numerics.run.settings import AUTO_RHO
from numerics.scalar_law import SlowPath
from numerics.schedule import Constant, Schedule
from numerics.sgd import SeparableSGD
from numerics.slow_law import SeparableLaw
from theory import lower
from theory.parametrization import Coordinatewise, DiagonalNetwork

_OFFSET = (
    0.5  # of the diagonal power network, in units of the root-mean-square of the factors: no factor starts at zero
)


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
        return self.law.onto_manifold(separable_start(self.parametrization, w, self.settings.depth))

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
        return self.model.start(separable_start(self.parametrization, w, self.settings.depth), self.settings.replicas)

    def flow(self, state: FloatArray, times: FloatArray) -> Flow:
        """Gradient flow from one replica's state."""
        return separable_flow(self.model, state, times)

    def floor_at(self, flow: Flow) -> float:
        """The floor where the flow ends."""
        return noise_floor.floor(flow.kernel[-1], eta=self.eta, batch=self.settings.batch, sigma=self.settings.sigma)

    def path_after(self, states: FloatArray, steps: IntArray) -> SlowPath:
        """The law from the point of the manifold next to the replicas' mean."""
        mean = np.nanmean(states, axis=0).ravel()
        return self.law.path(self.law.onto_manifold(mean), Constant(self.eta), steps)

    def slowest_mode_rate(self, state: FloatArray) -> tuple[float, float]:
        """Rate at which the slowest residual mode dies out without noise, from a state; and lambda_min(K) (C7)."""
        K = self.law.tangent(self.law.onto_manifold(state.ravel())).K
        return slowest_mode_rate(lambda times: self.flow(state, times), K)

    def test_loss_remainder(self, law: SlowPath) -> float:
        """What rho's neglected term and the fluctuations (of the size of the train loss) amount to."""
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


def separable_start(parametrization: Coordinatewise | DiagonalNetwork, w: FloatArray, depth: float) -> FloatArray:
    """u ``(p,)`` with F(u) = w: the balanced factors of a diagonal network, or the inverse of f."""
    if parametrization.name == "diagonal-product":
        return start.diagonal_product_from_predictor(w)
    if isinstance(parametrization, DiagonalNetwork):
        size = float(np.mean(np.abs(w) ** (2 / depth)) ** 0.5)
        return start.diagonal_power_from_predictor(w, depth, offset=_OFFSET * size)
    functions = lower.python(lower.functions(parametrization))
    value, slope = np.vectorize(functions["value"], otypes=[float]), np.vectorize(functions["slope_u"], otypes=[float])
    return start.separable_from_predictor(value, slope, w, parameter="rho0")
