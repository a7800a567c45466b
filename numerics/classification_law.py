"""The slow law of cross-entropy with freshly flipped labels, to leading order in the fluctuation (C11).

With flip probability p the mean logistic residual vanishes at f_i = +-ln((1-p)/p), where its slope and the variance
of a step's residual both are q = p(1-p). So it is label-noise SGD of the squared loss with targets +-ln((1-p)/p),
learning rate q eta and label-noise variance 1/q.
"""

from dataclasses import dataclass

import numpy as np

from numerics.errors import InputError
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from theory.parametrization import Radial


@dataclass(frozen=True, eq=False)
class FlipLaw:
    """The scalar law under label flips; `problem` has the targets +-ln((1-p)/p) in place of labels +-1."""

    problem: Problem
    law: RadialLaw
    variance: float

    def log_rate(self, rho: float, eta: float) -> float:
        """d ln rho / dk at learning rate eta of the cross-entropy."""
        return self.law.log_rate(rho, self.variance * eta)

    def stability_limit(self, rho_low: float, rho_high: float) -> float:
        """Least stability limit in eta over a range of rho."""
        return self.law.stability_limit(rho_low, rho_high) / self.variance


def flip_law(problem: Problem, parametrization: Radial, *, flip: float, batch: int) -> FlipLaw:
    """The law for labels y = +-1 of `problem` flipped afresh with probability flip. Raises InputError for
    other labels.
    """
    target, variance = flip_targets(problem, flip), flip * (1 - flip)
    manifold = RadialManifold(parametrization, target.gram, target.y, target.norm_w_mn)
    return FlipLaw(target, RadialLaw(manifold, batch, float(np.sqrt(1 / variance))), variance)


def flip_targets(problem: Problem, flip: float) -> Problem:
    """The problem with the logits at rest, y ln((1-p)/p), for labels. Raises InputError for labels other than +-1."""
    if not np.all(np.abs(problem.y) == 1):
        raise InputError("y", "other numbers", "are not labels +1 and -1", "give the sign of each label")
    if not 0 < flip < 0.5:
        raise InputError("flip", flip, "is not in (0, 1/2)", "flip some labels, fewer than half")
    return Problem(problem.X, problem.y * np.log((1 - flip) / flip), w_star=problem.w_star)
