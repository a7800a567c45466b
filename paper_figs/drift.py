"""What the figures of Phase II share: a drift simulated and predicted, compared at the same records."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.run.system import RadialSystem
from numerics.scalar_law import SlowPath
from numerics.schedule import Constant
from numerics.sgd import Model, Noise, simulate

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: relative discrepancy of rho that the figures' checks undertake to detect
RESOLUTION = 0.03


@dataclass(frozen=True, eq=False)
class Drift:
    """Relaxed rho of the runs ``(records, R)`` at the steps, and the law there."""

    step: IntArray
    rho: FloatArray
    law: FloatArray
    small_eta: FloatArray
    remainder: FloatArray

    @property
    def moments(self) -> FloatArray:
        """Mean and standard error of rho, ``(records, 2)``."""
        return np.stack(mean_and_sem(self.rho), axis=-1)

    def check(self, claim: str, quantity: str, comparisons: int) -> Check:
        """rho at the last record."""
        mean, sem = mean_and_sem(self.rho[-1])
        law = float(self.law[-1])
        margin = Margin(model=abs(law * float(self.remainder[-1])), resolution=RESOLUTION * law)
        critical = critical_value(comparisons, self.rho.shape[1])
        return Check(claim, quantity, law, float(mean), float(sem), margin, critical)


def steps_to(chosen: RadialSystem, share: float, records: int) -> IntArray:
    """Evenly spaced steps until the law has taken rho to a share of its way."""
    end = chosen.resting_rho + share * (chosen.rho0 - chosen.resting_rho)
    total = chosen.law.steps_between(chosen.rho0, end, chosen.eta)
    return np.linspace(0, total, records + 1).astype(np.int64)


def drift(chosen: RadialSystem, steps: IntArray) -> Drift:
    """Label-noise SGD from rho0 on the manifold, and its law."""
    law: SlowPath = chosen.path(Constant(chosen.eta), steps)
    table = chosen.simulate(chosen.states_on_manifold(), Constant(chosen.eta), steps, lambda _: None)
    return Drift(steps, table["rho_slow"], law.rho, law.rho_small_eta, law.remainder)


def relaxed_rho(
    chosen: RadialSystem, model: Model, states: FloatArray, *, eta: float, steps: IntArray, noise: Noise
) -> FloatArray:
    """Relaxed rho ``(records, R)`` of another dynamics of `numerics.dynamics` on the same problem."""
    table = simulate(model, states, Constant(eta), steps, noise=noise, threads=1)
    return np.asarray(np.abs(chosen.manifold.relaxed(table["nu"], table["r"])))
