"""A job's settings resolved: what every parametrization offers, simulator and law side by side."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.gradient_flow import Flow
from numerics.problem import Problem, Reduced
from numerics.run.machine import Machine
from numerics.run.settings import Settings
from numerics.scalar_law import SlowPath
from numerics.schedule import Schedule
from numerics.sgd import Model, Noise, simulate

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MAX_AUTO_STEPS = 2e9
MIN_AUTO_STEPS = 2000


@dataclass(frozen=True, eq=False)
class System(ABC):
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

    def duration(self) -> int:
        """Steps of the large-learning-rate phase: as given, or from the law (C6)."""
        if self.settings.steps != "auto":
            return self.settings.steps
        steps = self.auto_duration() if self.stable and self.settings.sigma > 0 else float(MIN_AUTO_STEPS)
        if not steps <= _MAX_AUTO_STEPS:
            rule = f"would take {steps:.3g} steps by the law"
            raise InputError("steps", "auto", rule, "give --steps, a larger --sigma, or --depth above 1")
        return max(int(steps), MIN_AUTO_STEPS)

    def simulate(
        self, states: FloatArray, schedule: Schedule, steps: IntArray, tick: Callable[[int], Any]
    ) -> dict[str, FloatArray]:
        """Observables ``(steps, R)`` of SGD from states, advanced in place. ``rho_slow`` is what the law speaks of."""
        machine = Machine.of(self.settings)
        options: dict[str, Any] = {"noise": self.noise, "tick": tick, "first": self.settings.first_replica}
        if machine.numba:
            table = simulate(self.model, states, schedule, steps, threads=self.settings.threads, **options)
        else:
            table = machine.simulate(self.model, states, schedule, steps, **options)
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

    @property
    @abstractmethod
    def model(self) -> Model:
        """SGD on this problem."""

    @property
    @abstractmethod
    def stability_limit(self) -> float:
        """The mean-square stability limit (C9), the least along the way where the law has one coordinate."""

    @abstractmethod
    def states_on_manifold(self) -> FloatArray:
        """Every replica at the start on the manifold."""

    @abstractmethod
    def random_states(self) -> FloatArray:
        """Every replica at one random start with |w| = rho0, off the manifold."""

    @abstractmethod
    def flow(self, state: FloatArray, times: FloatArray) -> Flow:
        """Gradient flow from one replica's state."""

    @abstractmethod
    def path(self, schedule: Schedule, steps: IntArray) -> SlowPath:
        """The law from the start on the manifold."""

    @abstractmethod
    def slow_rho(self, table: dict[str, FloatArray]) -> FloatArray:
        """What the law predicts, from observables ``(steps, R)``."""

    @abstractmethod
    def floor_at(self, flow: Flow) -> float:
        """The floor where the flow ends."""

    @abstractmethod
    def path_after(self, states: FloatArray, steps: IntArray) -> SlowPath:
        """The law at increasing steps from the mean of the states that SGD has at steps[0]."""

    @abstractmethod
    def slowest_mode_rate(self, state: FloatArray) -> tuple[float, float]:
        """Rate at which the slowest residual mode dies out without noise, from a state; and lambda_min(K) (C7)."""

    @abstractmethod
    def auto_duration(self) -> float:
        """Steps that show the drift, from the law (C6)."""

    @abstractmethod
    def relaxation_steps(self, rho: float) -> float:
        """n / (eta lambda_min(K)): steps in which the slowest residual mode falls by e (C7)."""

    @abstractmethod
    def test_loss_remainder(self, law: SlowPath) -> float:
        """What the law neglects in the final test loss."""

    @abstractmethod
    def largest_rise(self) -> float:
        """C8: R at w_mn less its least value on the ray, 1/2 rho*^2 for an isotropic test loss; NaN without a ray."""

    @abstractmethod
    def selection_record(self) -> dict[str, object]:
        """C5 for this problem: small eta, and at the eta of the job."""

    @abstractmethod
    def selection_text(self) -> str:
        """C5 for this problem in one line."""


def slowest_mode_rate(flow: Callable[[FloatArray], Flow], K: FloatArray) -> tuple[float, float]:
    """(rate, lambda_min): the residual along K's softest eigenvector, over two of its relaxation times."""
    time = len(K) / float(np.linalg.eigvalsh(K)[0])
    found = flow(np.array([0.0, 2.0, 4.0]) * time)
    along = np.abs(found.residual[1:] @ np.linalg.eigh(found.kernel[-1])[1][:, 0])
    return float(len(K) * np.log(along[0] / along[1]) / (2 * time)), float(np.linalg.eigvalsh(found.kernel[-1])[0])
