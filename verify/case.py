"""One experiment in a line: what hypothesis draws and shrinks, what a row of the report names, what repeats it.

A `Case` is plain numbers. Its learning rate is a share of the stability limit, and its label noise is set through
the relative variance of the parameters that it causes, so that every case lies where the claims are meant to hold.
A `Setup` is a case made concrete, or a user's own problem.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from numerics import sgd, start
from numerics.data import load
from numerics.noise_floor import Fluctuations
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from theory.conditions import Situation
from theory.parametrization import Radial, named

FloatArray = npt.NDArray[np.float64]
Spectrum = Literal["isotropic", "power law", "near-degenerate", "digits", "diabetes"]
SPECTRA: tuple[Spectrum, ...] = ("isotropic", "power law", "near-degenerate", "digits", "diabetes")
#: each compiles one kernel, so the depths that cases take are few
DEPTHS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class Case:
    """One experiment as plain numbers.

    ``load`` is eta as a share of the stability limit at the start; ``noise`` is tr S / |u|^2 there, the relative
    variance of the parameters, from which sigma follows; ``rho0`` is in units of |w_mn|; ``extra`` = d - n.
    """

    depth: float = 2.0
    n: int = 3
    extra: int = 6
    spectrum: Spectrum = "isotropic"
    batch: int = 1
    load: float = 0.5
    noise: float = 3e-4
    rho0: float = 1.5
    seed: int = 0

    def setup(self) -> "Setup":
        """The problem, start, learning rate and label noise that the numbers stand for."""
        problem = build_problem(self.spectrum, self.n, self.extra, self.seed)
        rho0 = self.rho0 * problem.norm_w_mn
        draft = Setup(problem, self.depth, self.batch, 1.0, 1.0, rho0, self.seed)
        eta = self.load * draft.limit
        variance = Fluctuations(draft.kernel0, eta, self.batch).covariance(1.0) if self.load < 1 else np.eye(self.n)
        share = np.trace(np.linalg.solve(draft.kernel0, variance)) / draft.r0**2
        return Setup(problem, self.depth, self.batch, float(np.sqrt(self.noise / share)), eta, rho0, self.seed, self)

    def text(self) -> str:
        """JSON of the fields that differ from the defaults."""
        default = Case()
        return json.dumps({k: v for k, v in asdict(self).items() if v != getattr(default, k)})

    @staticmethod
    def read(text: str) -> "Case":
        """The case of `text`."""
        return Case(**json.loads(text))


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem, a radial parametrization of a depth, label-noise SGD's settings and a start on the ray of minima."""

    problem: Problem
    depth: float
    batch: int
    sigma: float
    eta: float
    rho0: float
    seed: int
    case: Case | None = None

    @cached_property
    def parametrization(self) -> Radial:
        """Radial of this depth."""
        return radial(self.depth)

    @cached_property
    def manifold(self) -> RadialManifold:
        """The ray of minima."""
        return manifold_of(self.problem, self.depth)

    @cached_property
    def law(self) -> RadialLaw:
        """The slow law at this batch size and label noise."""
        return RadialLaw(self.manifold, self.batch, self.sigma)

    @cached_property
    def direction(self) -> FloatArray:
        """zhat ``(d,)``, a unit vector of ker X."""
        return start.null_direction(self.problem, self.seed)

    @cached_property
    def r0(self) -> float:
        """|u| at the start."""
        return self.manifold.radius(self.rho0)

    @cached_property
    def kernel0(self) -> FloatArray:
        """K ``(n, n)`` at the start."""
        return self.manifold.kernel(self.rho0)

    @cached_property
    def w0(self) -> FloatArray:
        """The starting predictor ``(d,)``, an interpolator."""
        return start.on_manifold(self.problem, self.rho0, self.direction)

    @cached_property
    def u0(self) -> FloatArray:
        """The starting parameters ``(d,)``."""
        return start.radial_from_predictor(self.w0, self.r0)

    @cached_property
    def limit(self) -> float:
        """The least stability limit (C9) on the ray between w_mn and the start, and a little beyond it."""
        return self.law.stability_limit(0.0, 1.1 * self.rho0)

    @cached_property
    def model(self) -> sgd.RadialSGD:
        """The simulator in reduced coordinates."""
        return sgd.RadialSGD(self.problem.reduced(self.direction), self.parametrization, float(np.linalg.norm(self.w0)))

    @property
    def noise(self) -> sgd.Noise:
        """How SGD draws."""
        return sgd.Noise(self.batch, self.sigma, self.seed)

    @property
    def load_share(self) -> float:
        """eta over the stability limit."""
        return self.eta / self.limit

    def situation(self, **changes: Any) -> Situation:
        """What the conditions of the claims are evaluated on."""
        facts: dict[str, Any] = {
            "n": self.problem.n,
            "d": self.problem.d,
            "depth": self.depth,
            "sigma": self.sigma,
            "load": self.load_share,
            "noise_share": self.noise_share,
        }
        return Situation(**{**facts, **changes})

    @property
    def noise_share(self) -> float:
        """tr S / |u|^2 at the start: the small parameter of the slow law; infinite where SGD is unstable."""
        fluctuations = Fluctuations(self.kernel0, self.eta, self.batch)
        if not fluctuations.stable:
            return float("inf")
        C = fluctuations.covariance(self.sigma)
        return float(np.trace(np.linalg.solve(self.kernel0, C)) / self.r0**2)


@cache
def radial(depth: float) -> Radial:
    """Radial of this depth."""
    parametrization = named("radial", depth)
    assert isinstance(parametrization, Radial)
    return parametrization


@cache
def _prototype(depth: float) -> RadialManifold:
    """A ray of this depth, on no particular problem, its formulas lowered."""
    manifold = RadialManifold(radial(depth), np.eye(1), np.ones(1), 1.0)
    _ = manifold.functions, manifold.relaxed(np.ones(1), np.ones(1))
    return manifold


def manifold_of(problem: Problem, depth: float) -> RadialManifold:
    """The ray of minima, formulas lowered once per depth: that takes sympy longer than most checks."""
    manifold = RadialManifold(radial(depth), problem.gram, problem.y, problem.norm_w_mn)
    shared = {name: value for name, value in vars(_prototype(depth)).items() if name in ("functions", "_arrays")}
    vars(manifold).update(shared)
    return manifold


@cache
def build_problem(spectrum: Spectrum, n: int, extra: int, seed: int) -> Problem:
    """n rows of the named spectrum in n + extra dimensions, a teacher of norm 1, |X|_F^2 = n d; or rows of
    real data.
    """
    if spectrum in ("digits", "diabetes"):
        return load(spectrum, n=n, seed=seed)
    draw = start.generator(seed, "verify problem")
    d = n + extra
    rows = draw.standard_normal((n, d))
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    if spectrum == "power law":
        values = 1.0 / np.arange(1, n + 1)
    if spectrum == "near-degenerate" and n > 1:
        values = np.append(np.ones(n - 1), 0.15)
    X = (left * values) @ right
    X *= np.sqrt(n * d) / np.linalg.norm(X)
    teacher = draw.standard_normal(d)
    teacher /= np.linalg.norm(teacher)
    return Problem(X, X @ teacher, w_star=teacher, name=spectrum)
