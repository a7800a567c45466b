"""F(u) = g(|u|) u in a job: exact reduced SGD beside the scalar law."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from numerics import start
from numerics.gradient_flow import Flow, radial_flow
from numerics.radial_manifold import RadialManifold
from numerics.run.base_system import MIN_AUTO_STEPS, FloatArray, IntArray, System, slowest_mode_rate
from numerics.run.settings import AUTO_RHO
from numerics.scalar_law import RadialLaw, SlowPath
from numerics.schedule import Constant, Schedule
from numerics.sgd import RadialSGD
from theory.parametrization import Radial


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
        return float(abs(self.manifold.relaxed(end[-1:], np.atleast_1d(np.linalg.norm(end)))[0]))

    def floor_at(self, flow: Flow) -> float:
        """The floor where the flow ends."""
        return self.law.state(self._rho_of(flow.end), self.eta).floor

    def path_after(self, states: FloatArray, steps: IntArray) -> SlowPath:
        """The law from the mean of the replicas' relaxed rho."""
        rho = float(np.nanmean(self.slow_rho(self.model.observe(states))))
        return self._with_test_loss(self.law.path(rho, Constant(self.eta), steps), Constant(self.eta))

    def slowest_mode_rate(self, state: FloatArray) -> tuple[float, float]:
        """Rate at which the slowest residual mode dies out without noise, from a state; and lambda_min(K) (C7)."""
        ends = self.flow(state, np.array([0.0, 1.0])).end
        K = self.manifold.kernel(self._rho_of(ends))
        return slowest_mode_rate(lambda times: self.flow(state, times), K)

    def test_loss_remainder(self, law: SlowPath) -> float:
        """What rho's neglected term and the fluctuations' own share amount to in the final test loss."""
        rho = float(law.rho[-1])
        bare = float(self.reduced.test_loss(self.point(rho)))
        shifted = float(self.reduced.test_loss(self.point(rho * (1 + float(law.remainder[-1])))))
        return abs(shifted - bare) + abs(float(law.test_loss[-1]) - bare)

    def largest_rise(self) -> float:
        """C8: R at w_mn less its least value on the ray, 1/2 rho*^2 for an isotropic test loss."""
        if self.reduced.T is None or self.reduced.t is None:
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
        return self._with_test_loss(self.law.path(self.rho0, schedule, steps), schedule)

    def _with_test_loss(self, path: SlowPath, schedule: Schedule) -> SlowPath:
        pairs = zip(path.rho, schedule(path.step), strict=True)
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
        return np.asarray(self.reduced.c_mn + rho * np.eye(self.reduced.n + 1)[-1])

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
            return float(MIN_AUTO_STEPS)
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
