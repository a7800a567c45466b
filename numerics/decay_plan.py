"""One large learning rate and every decay from it: the final test loss of each by the slow law, and the best."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from numerics.decay_time import FINE, Drift, Settling, loss_weight, settling
from numerics.scalar_search import least

if TYPE_CHECKING:
    from numerics.advice import Advisor

FloatArray = npt.NDArray[np.float64]

#: share of the final test loss (of the train loss where there is no test loss) that fluctuations may still add:
#: Phase III is over
SETTLED = 0.005
#: the train loss counts as at its new floor within this share of it
AT_FLOOR = 0.05
#: the law's neglected terms, above which its answer is not to be relied on
CONDITION = 0.1
_CANDIDATES = 12


@dataclass(frozen=True)
class Decay:
    """A decay at a step: rho there, the final test loss by the law (NaN where none is known), and the steps after the
    decay.
    """

    step: int
    cooldown: int
    rho: float
    final_loss: float


@dataclass(frozen=True)
class Advice:
    """What the law says. ``earlier`` and ``later`` decay at half and at twice the advised step (None: outside the
    budget).

    ``saturation``: steps of Phase I (C1). ``settling``, ``to_floor``: steps of Phase III until the final test loss,
    and until the train loss, is all but what it will be. ``gain_left``: share of the whole possible gain not yet had
    at the advised step and at those two. Where no test loss is known the gain is that of rho^2, the expected test loss
    for a start independent of the teacher (C8).
    """

    stability_limit: float
    margin: float
    eta: float
    saturation: float
    settling: float
    to_floor: float
    chosen: Decay
    earlier: Decay
    later: Decay | None
    gain_left: tuple[float, float, float]
    test_known: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """One large learning rate: all decays, and the best."""

    advisor: "Advisor"
    eta: float

    @cached_property
    def large(self) -> Drift:
        """The drift before the decay."""
        return Drift(self.advisor.law, self.advisor.rho0, self.eta)

    @cached_property
    def small(self) -> Drift:
        """The drift after it."""
        return Drift(self.advisor.law, self.advisor.rho0, self.eta / self.advisor.factor)

    @property
    def moves(self) -> bool:
        """Whether rho does."""
        return self.advisor.moves

    def rho(self, step: float) -> float:
        """rho at a step of the large learning rate."""
        return self.large.rho(step) if self.moves else self.advisor.rho0

    def bare(self, rho: float) -> float:
        """R on the manifold; without a test loss rho^2/2, its expectation up to a constant (C8)."""
        reduced = self.advisor.reduced
        if not self.advisor.test_known:
            return rho**2 / 2
        return float(reduced.test_loss(reduced.c_mn + rho * np.eye(reduced.n + 1)[-1]))

    def settling(self, rho: float) -> Settling:
        """Phase III from this rho."""
        advisor = self.advisor
        weight = loss_weight(advisor.law, advisor.reduced, rho)
        return settling(advisor.law, rho, self.eta, self.eta / advisor.factor, weight)

    def decay(self, step: float) -> Decay:
        """A decay at a step: with a budget it has the rest of it to settle, without as many steps as settling takes."""
        before = self.rho(step)
        if self.moves and step >= self.large.diverges:
            return Decay(round(step), 0, before, float("inf"))
        settle = self.settling(before)
        budget = self.advisor.budget
        after = (
            budget - step
            if budget is not None
            else max(self.steps_to_settle(before, settle), self.steps_to_floor(before))
        )
        rho = self.small.onward(before, after) if self.moves else before
        loss = self.bare(rho) + settle.share(after) if self.advisor.test_known else float("nan")
        return Decay(round(step), round(after), rho, loss)

    def steps_to_settle(self, rho: float, settle: Settling) -> float:
        """The cooldown that Phase III needs: fluctuations within SETTLED of their end, relative to the loss they are
        added to.
        """
        if self.advisor.law.sigma == 0:
            return 0.0
        loss = self.bare(rho) if self.advisor.test_known else 0.0
        return settle.steps_until(settle.rest + SETTLED * (loss + settle.rest))

    def steps_to_floor(self, rho: float) -> float:
        """Steps in which the mean train loss comes within AT_FLOOR of the small learning rate's floor (C2, C7)."""
        law = self.advisor.law
        if law.sigma == 0:
            return 0.0
        weight = np.eye(law.manifold.y.size)
        fall = settling(law, rho, self.eta, self.eta / self.advisor.factor, weight)
        return fall.steps_until((1 + AT_FLOOR) * fall.rest)

    @cached_property
    def horizon(self) -> float:
        """The latest decay that is considered."""
        budget = self.advisor.budget
        return float(budget - 1) if budget is not None else float(self.large.table[0][-1])

    @cached_property
    def best(self) -> Decay:
        """Least final loss where that is known and attained; else the first step with no more than the tolerance to
        gain.
        """
        if not self.moves:
            return self.decay(0)
        steps = np.append(0.0, np.geomspace(max(1.0, 1e-3 * self.horizon), self.horizon, _CANDIDATES - 1))
        if self.advisor.budget is not None:
            if not self.advisor.test_known:
                return self.decay(self._last_that_settles())
            even = np.linspace(0.0, self.horizon, _CANDIDATES)
            return self.decay(_refined(lambda k: self.decay(k).final_loss, np.union1d(steps, even)))
        lowest = _refined(lambda k: self.bare(self.rho(k)), np.union1d(steps, self.large.table[0][:: FINE // 200]))
        if self.advisor.test_known and lowest < 0.98 * self.horizon:
            return self.decay(lowest)
        return self.decay(self._enough())

    def _last_that_settles(self) -> float:
        """With a budget and no test loss: as late as Phase III allows, but no later than what brings any gain."""
        needed = self.steps_to_settle(self.rho(self.horizon), self.settling(self.rho(self.horizon)))
        return max(0.0, min(self._enough(), (self.advisor.budget or 0) - needed))

    def _enough(self) -> float:
        """The first step at which the gain left is below the tolerance."""
        times = self.large.table[0]
        left = np.array([self.gain_left(float(step)) for step in times])
        return float(times[int(np.argmax(left <= self.advisor.tolerance))])

    def gain_left(self, step: float) -> float:
        """Share of the gain between rho0 and the best point of the way that a decay at ``step`` has not had."""
        whole = self.bare(self.advisor.rho0) - self._lowest
        return (self.bare(self.rho(step)) - self._lowest) / whole if whole > 0 else 0.0

    @cached_property
    def _lowest(self) -> float:
        logs = self.large.table[1] if self.moves else np.log([self.advisor.rho0])
        return min(self.bare(float(np.exp(x))) for x in logs[:: max(1, len(logs) // 200)])

    def advice(self, start_loss: float | None) -> Advice:
        """Everything about the best decay."""
        advisor, best = self.advisor, self.best
        twice = 2 * best.step
        inside = advisor.budget is None or twice < advisor.budget
        rho = self.rho(best.step)
        return Advice(
            stability_limit=advisor.stability_limit,
            margin=advisor.margin,
            eta=self.eta,
            saturation=self._saturation(start_loss),
            settling=self.steps_to_settle(rho, self.settling(rho)),
            to_floor=self.steps_to_floor(rho),
            chosen=best,
            earlier=self.decay(best.step / 2),
            later=self.decay(twice) if inside else None,
            gain_left=(self.gain_left(best.step), self.gain_left(best.step / 2), self.gain_left(twice)),
            test_known=advisor.test_known,
            notes=tuple(self._notes()),
        )

    def _saturation(self, start_loss: float | None) -> float:
        """C1: ln(L_0/L_floor)/(2 mu eta) with mu = lambda_min(K)/n, the least on the ray; no start_loss: |y|^2/2n."""
        law, y = self.advisor.law, self.advisor.law.manifold.y
        floor = law.state(self.advisor.rho0, self.eta).floor if law.sigma > 0 else 1e-12 * float(y @ y) / (2 * len(y))
        begin = float(y @ y) / (2 * len(y)) if start_loss is None else start_loss
        softest = min(float(np.linalg.eigvalsh(law.manifold.kernel(rho))[0]) for rho in (0.0, self.advisor.rho0))
        return max(0.0, float(np.log(begin / floor))) * len(y) / (2 * softest * self.eta)

    def _notes(self) -> list[str]:
        """Where the law does not reach, and what it says that no number above does."""
        law, found = self.advisor.law, []
        if law.sigma == 0:
            return ["sigma = 0: without label noise nothing drifts; when to decay makes no difference"]
        if not self.moves:
            return ["one curvature everywhere (depth 1): nothing drifts; when to decay makes no difference"]
        size = self.advisor.neglected(self.eta)
        if size > CONDITION:
            what = f"the law neglects terms of relative size {size:.2g}"
            found.append(f"outside conditions: {what}; lower sigma or eta for a sharper answer")
        if np.isfinite(self.large.diverges):
            where = f"at step {self.large.diverges:,.0f} it meets the stability limit"
            found.append(f"the drift leads outwards from rho0; {where}")
        if self.advisor.budget is not None and self.best.cooldown < self.steps_to_settle(
            self.best.rho, self.settling(self.best.rho)
        ):
            found.append("the budget is short: fluctuations have not fully settled at its end")
        return found


def _refined(loss: Callable[[float], float], steps: FloatArray) -> float:
    """The step of least loss: the best of the candidates, then a bounded search between its neighbours."""
    values = [loss(float(step)) for step in steps]
    k = int(np.argmin(values))
    low, high = float(steps[max(k - 1, 0)]), float(steps[min(k + 1, len(steps) - 1)])
    step, value = least(loss, low, high, evaluations=10)
    return step if value < values[k] else float(steps[k])
