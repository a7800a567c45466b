"""When to decay, from the slow law alone: no simulation (C4, C6, C7, C8, C9).

Time is counted in SGD steps from a point of the manifold at distance rho0, the end of Phase I. A decay at step k
divides eta by ``factor``; from then on the iterate relaxes (C7) while rho goes on drifting at the small rate. The
final test loss is R at the law's rho plus what the fluctuations still add: their covariance moves from C(eta) to
C(eta/factor) with the linear map's own rate for each pair of modes.
"""

from dataclasses import dataclass
from functools import cached_property

from numerics.decay_plan import CONDITION, Advice, Plan
from numerics.decay_time import FARTHEST
from numerics.errors import InputError
from numerics.problem import Reduced
from numerics.scalar_law import RadialLaw
from numerics.scalar_search import least

#: shares of the largest admissible learning rate that are tried where a budget makes the choice matter
ETA_GRID = (1.0, 0.85, 0.7, 0.5, 0.3)


@dataclass(frozen=True, eq=False)
class Advisor:
    """The law on one problem, asked for a schedule.

    ``margin``: the large learning rate is at most this share of the stability limit. ``factor`` divides it at the
    decay. ``tolerance``: with neither budget nor optimum, decay once the gain still to be had is below this share of
    the whole. Raises InputError for values out of range.
    """

    law: RadialLaw
    reduced: Reduced
    rho0: float
    margin: float
    factor: float
    tolerance: float
    budget: int | None

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("tolerance", self.tolerance)):
            if not 0 < value < 1:
                raise InputError(name, value, "is not between 0 and 1", f"give a {name} such as 0.8 or 0.01")
        if not self.factor > 1:
            raise InputError("decay-factor", self.factor, "would not lower eta", "give a factor above 1")
        if self.budget is not None and self.budget < 2:
            raise InputError(
                "budget", self.budget, "leaves no step for the decay", "give the whole number of steps of the run"
            )
        if not self.rho0 > 0:
            raise InputError("rho0", self.rho0, "is not a positive distance", "give a number above 0, or auto")

    @cached_property
    def stability_limit(self) -> float:
        """C9, the least on the way: from 0 to rho0, or to the flattest point where that lies farther out."""
        farthest = self.law.manifold.flattest_rho(FARTHEST * self.rho0)
        return self.law.stability_limit(0.0, max(self.rho0, farthest))

    @property
    def test_known(self) -> bool:
        """Whether a teacher or held-out rows define the test loss."""
        return self.reduced.T is not None

    @cached_property
    def moves(self) -> bool:
        """Whether anything drifts at all: label noise, and a curvature that varies along the manifold."""
        return self.law.sigma > 0 and abs(self.law.log_rate(self.rho0, self.margin * self.stability_limit)) > 1e-300

    def advise(self, eta: float | None = None, start_loss: float | None = None) -> Advice:
        """The advice, at a given large learning rate or the best one. ``start_loss``: train loss before Phase I."""
        if eta is not None and not 0 < eta < self.stability_limit:
            rule = f"is not between 0 and the mean-square stability limit {self.stability_limit:.6g}"
            raise InputError("eta", eta, rule, "lower eta, raise the batch size, or let the advisor choose")
        if eta is not None:
            return Plan(self, eta).advice(start_loss)
        return (self._best_plan() if self._by_loss and self.moves else self._fastest_plan()).advice(start_loss)

    def _best_plan(self) -> Plan:
        """The learning rate of least final loss: a coarse grid, then a bounded search between the best one's
        neighbours.
        """
        plans = {share: Plan(self, share * self.largest) for share in ETA_GRID}
        best = min(plans, key=lambda share: plans[share].best.final_loss)
        at = ETA_GRID.index(best)
        edges = ETA_GRID[min(at + 1, len(ETA_GRID) - 1)], ETA_GRID[max(at - 1, 0)]

        def loss(share: float) -> float:
            plans[share] = Plan(self, share * self.largest)
            return plans[share].best.final_loss

        least(loss, *edges, evaluations=6)
        return min(plans.values(), key=lambda plan: plan.best.final_loss)

    def _fastest_plan(self) -> Plan:
        """The learning rate of fastest drift."""
        if not self.moves:
            return Plan(self, self.margin * self.stability_limit)
        rates = [share * self.largest for share in ETA_GRID]
        return Plan(self, max(rates, key=lambda eta: abs(self.law.log_rate(self.rho0, eta))))

    @property
    def _by_loss(self) -> bool:
        return self.test_known and self.budget is not None

    @cached_property
    def largest(self) -> float:
        """The largest learning rate advised: within the margin, and where the law's neglected terms are below
        CONDITION.
        """
        top = self.margin * self.stability_limit
        for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1):
            if self.neglected(share * top) <= CONDITION:
                return share * top
        return top / 10

    def neglected(self, eta: float) -> float:
        """Relative size of what the law leaves out at the start: its lag, and the predictions' own spread."""
        state, y = self.law.state(self.rho0, eta), self.law.manifold.y
        return max(abs(state.lag), 2 * len(y) * state.floor / float(y @ y))
