"""What an experiment is: a claim, a function that compares, the cases it is run on and the controls that
must not pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, mean_and_sem
from numerics.start import generator
from theory.claims import BY_NUMBER, Claim
from theory.conditions import Situation
from verify.budget import Budget
from verify.case import SPECTRA, Case, Setup

FloatArray = npt.NDArray[np.float64]
#: observed where a replica diverged: a number that no margin holds
DIVERGED = 1e300
Run = Callable[[Setup, Budget], list[Check]]


@dataclass(frozen=True)
class Domain:
    """Which cases a claim is drawn from: depths, batch sizes, loads and relative noise variances; None for fixed
    cases only.
    """

    depths: tuple[float, ...] = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
    batches: tuple[int, ...] = (1, 2, 4)
    loads: tuple[float, float] = (0.1, 0.9)
    noises: tuple[float, float] = (1e-5, 1e-3)
    largest_n: int = 5

    def draw(self, i: int, seed: int) -> Case:
        """Case number i of a seed: the population of `verify.strategies.cases`, without hypothesis."""
        random = generator(seed, f"case {i}")
        low, high = self.loads
        quiet, loud = self.noises
        return Case(
            depth=float(random.choice(self.depths)),
            n=int(random.integers(1, self.largest_n + 1)),
            extra=int(random.integers(1, 13)),
            spectrum=SPECTRA[int(random.integers(len(SPECTRA)))],
            batch=int(random.choice(self.batches)),
            load=round_to_two(low * (high / low) ** random.uniform()),
            noise=round_to_two(quiet * (loud / quiet) ** random.uniform()),
            rho0=round_to_two(0.5 * 5 ** random.uniform()),
            seed=int(random.integers(1000)),
        )


def round_to_two(x: float) -> float:
    """Two significant digits: cases stay readable."""
    return float(f"{x:.2g}")


@dataclass(frozen=True)
class Control:
    """A case with a hypothesis dropped: some check of ``run`` must report fail or outside conditions.

    With ``seen`` it must report fail even when the conditions are not looked at: the comparison itself sees the
    difference.
    """

    name: str
    run: Callable[[Budget], list[Check]]
    seen: bool = True

    def caught(self, checks: list[Check]) -> bool:
        """Whether these checks refuse the case as they must."""
        refused = any(check.verdict != "pass" for check in checks)
        return refused and (not self.seen or any(replace(check, conditions={}).verdict == "fail" for check in checks))


@dataclass(frozen=True)
class Experiment:
    """A named comparison for a claim.

    ``comparisons`` bounds the random comparisons of one run: its share of the budget. ``own_data``: runs on a
    user's problem. ``any_seed``: the cases may be moved to other seeds, which draw other problems too; False where
    a case is built on one.
    """

    claim: str
    name: str
    run: Run
    cases: tuple[Case, ...]
    controls: tuple[Control, ...]
    comparisons: int = 0
    domain: Domain | None = None
    examples: int = 0
    own_data: bool = False
    any_seed: bool = True

    @property
    def key(self) -> str:
        """claim:name, as the command line takes it."""
        return f"{self.claim}:{self.name}"

    @property
    def total_comparisons(self) -> int:
        """Random comparisons of this experiment in one run, hypothesis' examples included."""
        return self.comparisons * (len(self.cases) + self.examples)


def judged(
    claim: str,
    quantity: str,
    predicted: float,
    observed: float,
    sem: float,
    *,
    margin: Margin,
    critical: float,
    situation: Situation,
    side: str = "both",
) -> Check:
    """A Check with the claim's conditions evaluated on the situation."""
    conditions = BY_NUMBER[claim].evaluate(situation)
    return Check(claim, quantity, predicted, observed, sem, margin, critical, conditions, side)  # type: ignore[arg-type]


def sampled(
    claim: str,
    quantity: str,
    predicted: float,
    values: FloatArray,
    *,
    margin: Margin,
    budget: Budget,
    situation: Situation,
) -> Check:
    """A Check of the mean of independent replicas' values ``(R,)``; any diverged replica makes it fail."""
    values = np.asarray(values, float)
    mean, sem = mean_and_sem(values)
    observed, error = (float(mean), float(sem)) if np.isfinite(values).all() else (DIVERGED, 0.0)
    critical = budget.critical(values.size)
    return judged(claim, quantity, predicted, observed, error, margin=margin, critical=critical, situation=situation)


def exact(
    claim: str,
    quantity: str,
    predicted: float,
    observed: float,
    *,
    margin: Margin,
    situation: Situation,
    side: str = "both",
) -> Check:
    """A Check without randomness."""
    return judged(
        claim, quantity, predicted, observed, 0.0, margin=margin, critical=0.0, situation=situation, side=side
    )


def claim_of(experiment: Experiment) -> Claim:
    """The record of the experiment's claim."""
    return BY_NUMBER[experiment.claim]
