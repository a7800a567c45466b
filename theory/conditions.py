"""What claims presuppose: facts about a problem and a run, and predicates of them that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

NoiseKind = Literal["label", "none", "static", "isotropic", "flip"]

#: tr S / |u|^2 above which the drift is no longer slow against the fluctuations: below it the law errs by less
#: than 10 %, as `verify.experiments.convergence` measures
QUASISTATIC_LIMIT = 0.01


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Facts about a problem and a run that conditions are predicates of.

    ``load`` is eta over the mean-square stability limit; ``noise_share`` is tr S / |u|^2, the small parameter of
    the slow law; ``relaxation`` counts e-foldings of the slowest residual since the last change of eta; ``clean``
    says that y = X w_star.
    """

    n: int
    d: int
    depth: float
    sigma: float
    load: float
    noise_share: float
    noise: NoiseKind = "label"
    loss: Literal["squared", "cross-entropy"] = "squared"
    momentum: float = 0.0
    saturated: bool = True
    relaxation: float = float("inf")
    consistent: bool = True
    aligned_start: bool = False
    depth_assumed: float | None = None


@dataclass(frozen=True)
class Condition:
    """A hypothesis of a claim: its name as a report prints it, and the predicate."""

    name: str
    holds: Callable[[Situation], bool]


OVERPARAMETRISED = Condition("n < d", lambda s: s.n < s.d)
CONSISTENT = Condition("labels can be interpolated", lambda s: s.consistent)
STABLE = Condition("eta below the stability limit", lambda s: s.load < 1)
LABEL_NOISE = Condition("fresh label noise", lambda s: s.noise == "label" and s.sigma > 0)
SQUARED = Condition("squared loss", lambda s: s.loss == "squared")
QUASISTATIC = Condition("drift slow against fluctuations", lambda s: s.noise_share <= QUASISTATIC_LIMIT)
SATURATED = Condition("decay after saturation", lambda s: s.saturated)
RELAXED = Condition("relaxed since the decay", lambda s: s.relaxation >= 7)
RIGHT_DEPTH = Condition("depth of the model", lambda s: s.depth_assumed in (None, s.depth))
DEEP = Condition("D > 1", lambda s: s.depth > 1)
MOMENTUM = Condition("drift slow against 1 - beta", lambda s: s.noise_share <= QUASISTATIC_LIMIT * (1 - s.momentum))
FLIPS = Condition("labels flipped afresh", lambda s: s.noise == "flip" and s.loss == "cross-entropy")
UNALIGNED = Condition("start independent of the teacher", lambda s: not s.aligned_start)

SLOW = (OVERPARAMETRISED, LABEL_NOISE, STABLE, QUASISTATIC, SQUARED, RIGHT_DEPTH)
