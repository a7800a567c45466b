"""C3: the drift of any parametrization, against its definition and against SGD."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from numerics import sgd, start
from numerics.check import Check, Margin
from numerics.noise_floor import Fluctuations
from numerics.schedule import Constant
from numerics.slow_law import SeparableLaw
from theory.conditions import Situation
from theory.parametrization import Coordinatewise, DiagonalNetwork, named
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS, first_order

FloatArray = npt.NDArray[np.float64]
DISTANCE = 0.06  # of |u|: how far the law moves in a check
RESOLUTION = 0.15  # of that distance
_MOST = 60_000

#: F of u ``(p,)``, real or complex, written out
PREDICTORS = {
    "coordinatewise": lambda u: u**3,
    "sinh": np.sinh,
    "diagonal-product": lambda u: u[: u.size // 2] * u[u.size // 2 :],
    "diagonal-difference": lambda u: u[: u.size // 2] ** 2 - u[u.size // 2 :] ** 2,
}
_DEPTH = {"coordinatewise": 3, "sinh": 1, "diagonal-product": 2, "diagonal-difference": 2}


@dataclass(frozen=True, eq=False)
class Separable:
    """A separable parametrization on a setup's problem; eta and sigma by the case's shares."""

    setup: Setup
    name: str

    @cached_property
    def parametrization(self) -> Coordinatewise | DiagonalNetwork:
        """The named parametrization."""
        found = named(self.name, _DEPTH[self.name])
        assert isinstance(found, Coordinatewise | DiagonalNetwork)
        return found

    @cached_property
    def u0(self) -> FloatArray:
        """A point of M, unbalanced where there are two factors."""
        w = self.setup.w0
        if self.name == "coordinatewise":
            return np.cbrt(w)
        if self.name == "sinh":
            return np.arcsinh(w)
        if self.name == "diagonal-difference":
            return start.diagonal_power_from_predictor(w, 2.0, offset=0.5)
        both = start.diagonal_product_from_predictor(w)
        return np.concatenate([1.3 * both[: w.size], both[w.size :] / 1.3])

    @cached_property
    def tuned(self) -> "Separable":
        """With eta and sigma at the case's shares of this parametrization's own scales."""
        case = self.setup.case
        assert case is not None
        unit = SeparableLaw(self.setup.problem, self.parametrization, self.setup.batch, 1.0)
        eta = case.load * 0.9 * unit.stability_limit(self.u0)
        K = unit.tangent(self.u0).K
        share = np.trace(np.linalg.solve(K, Fluctuations(K, eta, self.setup.batch).covariance(1.0))) / (
            self.u0 @ self.u0
        )
        return Separable(replace(self.setup, eta=eta, sigma=float(np.sqrt(case.noise / share))), self.name)

    @cached_property
    def law(self) -> SeparableLaw:
        """The law under test."""
        return SeparableLaw(self.setup.problem, self.parametrization, self.setup.batch, self.setup.sigma)

    @cached_property
    def steps(self) -> npt.NDArray[np.int64]:
        """0 and the number of steps in which the law moves by DISTANCE."""
        speed = np.linalg.norm(self.law.drift(self.u0, self.setup.eta)) / np.linalg.norm(self.u0)
        return np.array([0, max(200, min(_MOST, int(DISTANCE / max(speed, 1e-12))))])

    def facts(self, **changes: Any) -> Situation:
        """Facts, with this parametrization's load and noise share."""
        case = self.setup.case
        assert case is not None
        return self.setup.situation(**{"load": case.load, "noise_share": case.noise, **changes})

    def simulated(self, steps: FloatArray, replicas: int, seed: int) -> FloatArray:
        """SGD's end points put back on M, ``(R, p)``."""
        model = sgd.SeparableSGD(self.setup.problem, self.parametrization, float(np.abs(self.setup.w0).max()))
        states = model.start(self.u0, replicas)
        noise = replace(self.setup.noise, seed=seed)
        sgd.simulate(model, states, Constant(self.setup.eta), steps, noise=noise, threads=THREADS)
        return np.array([self.law.onto_manifold(state.ravel()) for state in states])


def progress(ends: FloatArray, begin: FloatArray, target: FloatArray) -> FloatArray:
    """Displacements ``(R, p)`` measured along the law's, 1 where they agree."""
    along = target - begin
    return np.asarray((ends - begin) @ along / (along @ along))


def drift(setup: Setup, budget: Budget, *, name: str) -> list[Check]:
    """SGD's displacement along the law's, and the part of it across: both for the mean of the replicas."""
    separable = Separable(setup, name).tuned
    steps = separable.steps

    def sample(s: Setup, replicas: int, seed: int) -> FloatArray:
        here = Separable(s, name)
        share = (separable.setup.sigma / s.sigma) ** 2
        length = np.array([0, max(1, int(steps[1] * share))])
        target = here.law.points(here.law.drift, here.u0, Constant(s.eta), length)[-1]
        return progress(here.simulated(length, replicas, seed), here.u0, target)

    check = first_order(
        "C3",
        f"progress along the law, {name}",
        separable.setup,
        budget,
        predict=lambda s: 1.0,
        sample=sample,
        resolution=RESOLUTION,
        situation=separable.facts(),
        most=512,
    )
    return [check, *definition(setup, budget, name=name)]


def definition(setup: Setup, budget: Budget, *, name: str) -> list[Check]:
    """The drift against -(eta/2) P_T grad [tr(A S A^T)/n] with S held fixed, from C in all n^2 unknowns and complex
    steps.
    """
    separable = Separable(setup, name).tuned
    problem, u, eta = separable.setup.problem, separable.u0, separable.setup.eta
    A = jacobian(problem.X, u, name)
    K = A @ A.T
    C = oracle.stationary_covariance(K, eta, setup.batch, separable.setup.sigma)
    small = eta * separable.setup.sigma**2 / (2 * setup.batch) * K
    law, facts = separable.law, separable.facts()
    return [
        exact(
            "C3",
            f"{label}, {name}",
            0.0,
            _relative(mine, projected_pull(problem.X, u, name, covariance) * -eta / 2),
            margin=Margin(rounding=1e-6),
            situation=facts,
        )
        for label, mine, covariance in (
            ("drift at any eta", law.drift(u, eta), C),
            ("drift at small eta", law.drift_small_eta(u, eta), small),
        )
    ]


def _relative(a: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def jacobian(X: FloatArray, u: FloatArray, name: str) -> FloatArray:
    """A = X dF/du ``(n, p)`` by complex steps."""
    F = PREDICTORS[name]
    return np.stack([X @ F(u + 1e-30j * e).imag * 1e30 for e in np.eye(u.size)], axis=1)


def projected_pull(X: FloatArray, u: FloatArray, name: str, C: FloatArray) -> FloatArray:
    """P_T grad of tr(A S A^T)/n with S = A^T K^-1 C K^-1 A held fixed, central differences."""
    A = jacobian(X, u, name)
    K = A @ A.T
    S = A.T @ np.linalg.solve(K, np.linalg.solve(K, C).T) @ A

    def value(v: FloatArray) -> float:
        B = jacobian(X, v, name)
        return float(np.sum((B @ S) * B) / X.shape[0])

    h = 1e-4 * float(np.abs(u).max())
    gradient = np.array([(value(u + h * e) - value(u - h * e)) / (2 * h) for e in np.eye(u.size)])
    return gradient - A.T @ np.linalg.solve(K, A @ gradient)


_BASE = Case(n=3, extra=5, load=0.5, noise=1e-4, batch=2)


def _mismatch(budget: Budget, law: Separable, physics: Separable, **facts: object) -> list[Check]:
    target = law.law.points(law.law.drift, law.u0, Constant(law.setup.eta), law.steps)[-1]
    values = progress(physics.simulated(law.steps, 32, 1), law.u0, target)
    margin = Margin(resolution=RESOLUTION)
    situation = law.facts(**facts)
    return [sampled("C3", "progress along the law", 1.0, values, margin=margin, budget=budget, situation=situation)]


def _no_label_noise(budget: Budget) -> list[Check]:
    law = Separable(_BASE.setup(), "coordinatewise").tuned
    return _mismatch(budget, law, Separable(replace(law.setup, sigma=0.0), law.name), noise="none")


def _batch_ignored(budget: Budget) -> list[Check]:
    law = Separable(_BASE.setup(), "coordinatewise").tuned
    return _mismatch(budget, law, Separable(replace(law.setup, batch=4), law.name))


def _small_eta_formula(budget: Budget) -> list[Check]:
    law = Separable(replace(_BASE, load=0.8).setup(), "coordinatewise").tuned
    target = law.law.points(law.law.drift_small_eta, law.u0, Constant(law.setup.eta), law.steps)[-1]
    values = progress(law.simulated(law.steps, 32, 1), law.u0, target)
    margin = Margin(resolution=RESOLUTION)
    situation = law.facts()
    return [sampled("C3", "progress along the law", 1.0, values, margin=margin, budget=budget, situation=situation)]


def _not_projected(budget: Budget) -> list[Check]:
    """The pull without P_T: must differ from the law."""
    law = Separable(_BASE.setup(), "coordinatewise").tuned
    tangent = law.law.tangent(law.u0)
    C = Fluctuations(tangent.K, law.setup.eta, law.setup.batch).covariance(law.setup.sigma)
    error = _relative(-law.setup.eta / 2 * law.law.pull(tangent, C), law.law.drift(law.u0, law.setup.eta))
    facts = law.facts()
    return [exact("C3", "drift", 0.0, error, margin=Margin(rounding=1e-6), situation=facts)]


_CONTROLS = {
    "coordinatewise": (
        Control("no label noise", _no_label_noise),
        Control("other batch size", _batch_ignored),
        Control("small-eta formula at a large eta", _small_eta_formula),
        Control("no projection on the tangent space", _not_projected),
    )
}

EXPERIMENTS = (
    *(
        Experiment(
            "C3",
            f"drift, {name}",
            partial(drift, name=name),
            (_BASE, Case(n=2, extra=4, load=0.8, noise=1e-4)),
            _CONTROLS.get(name, ()),
            comparisons=2,
        )
        for name in PREDICTORS
    ),
    Experiment(
        "C3",
        "definition",
        partial(definition, name="coordinatewise"),
        (_BASE,),
        (),
        domain=Domain(depths=(2.0,), largest_n=4),
        examples=20,
    ),
)
