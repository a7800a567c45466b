"""What `simulate` runs: problem, minima, start, learning rate, number of steps, dynamics and request of a choice."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics import start
from numerics.classification_law import flip_targets
from numerics.dynamics import Dynamics, GradientFlow, Variant, VariantSGD, WeakSecondOrder
from numerics.errors import InputError
from numerics.predictions import Law, Minima, NoPrediction, Request, law_of
from numerics.problem import Problem
from numerics.run.base_system import System
from numerics.run.settings import Settings
from numerics.run.simulate_options import Choice
from numerics.sgd import Noise

if TYPE_CHECKING:
    import xarray

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: share of the stability limit that `auto` takes, where it is not that of the jobs: the law is of leading order there
_SHARES = {"flips": 0.01, "isotropic": 0.1, "dropout": 0.05}
_MOST_STEPS = 3e8
#: standard deviation of rho over rho at the end, with `auto` tau, after so many relaxation times
SPREAD, _RELAXATIONS = 0.05, 12
#: e-foldings of the loss until a start off the minima counts as interpolated
_FOLDINGS = 40


@dataclass(frozen=True, eq=False)
class Scene(ABC):
    """A choice on a problem. ``base`` knows data, parametrization and direction. Subclasses know the minima."""

    base: System
    choice: Choice

    @property
    def settings(self) -> Settings:
        """As given."""
        return self.base.settings

    @cached_property
    def problem(self) -> Problem:
        """Labels as the choice wants them: signs under flips, corrupted once under static noise."""
        clean = self.base.problem
        if self.choice.noise == "flips":
            return _relabelled(clean, np.where(clean.y >= 0, 1.0, -1.0))
        if self.choice.noise == "static":
            draw = start.generator(self.settings.seed, "static corruption").standard_normal(clean.n)
            return _relabelled(clean, clean.y + self.choice.sigma * draw)
        return clean

    @cached_property
    def minima(self) -> Problem:
        """The problem whose interpolators the dynamics goes to: under flips with the logits at rest for labels."""
        return flip_targets(self.problem, self.choice.flip) if self.choice.noise == "flips" else self.problem

    @cached_property
    def rho0(self) -> float:
        """As the jobs take it, in units of the minima's |w_mn| where it is automatic."""
        return self.base.rho0 / self.base.problem.norm_w_mn * self.start_problem.norm_w_mn

    @property
    def start_problem(self) -> Problem:
        """Static corruption starts where the clean labels are interpolated."""
        return self.base.problem if self.choice.noise == "static" else self.minima

    @property
    @abstractmethod
    def manifold(self) -> Minima:
        """The minima that the dynamics goes to."""

    @property
    @abstractmethod
    def u(self) -> FloatArray:
        """Starting parameters ``(p,)``."""

    @property
    @abstractmethod
    def point(self) -> Any:
        """The point of the minima next to the start, in the form that laws take."""

    @abstractmethod
    def least_limit(self, law: Law) -> float:
        """The law's stability limit on the way."""

    @abstractmethod
    def drifted(self, law: Law) -> float:
        """Steps until the law has shown its drift; infinite where it does not."""

    @abstractmethod
    def unit_spread(self) -> float:
        """Standard deviation over replicas, relative to the start, that isotropic noise of tau = 1 gives in a step."""

    @property
    @abstractmethod
    def coordinates(self) -> tuple[Problem, FloatArray]:
        """Problem and start in the coordinates that are simulated."""

    @abstractmethod
    def slow_law(self, law: Law) -> Dynamics:
        """The law as a dynamics."""

    @abstractmethod
    def euler_maruyama(self) -> Dynamics:
        """The SDE by the scheme of first weak order."""

    @abstractmethod
    def relaxed(self, curves: "xarray.Dataset") -> "xarray.Dataset":
        """The curves with what the law speaks of: `drifting`."""

    @property
    @abstractmethod
    def drifting(self) -> str:
        """Which distance from the minimum-norm solution the prediction speaks of."""

    @cached_property
    def _asked(self) -> Request:
        """The request, tau left open: its automatic value needs eta, and eta the law."""
        c = self.choice
        return Request(
            dynamics="sgd" if c.dynamics == "slow-law" else c.dynamics,
            noise=c.noise,
            sampling=c.sampling,
            batch=self.settings.batch,
            sigma=c.sigma,
            momentum=c.momentum,
            flip=c.flip,
            dropout=c.dropout,
            substeps=self.substeps,
        )

    @cached_property
    def request(self) -> Request:
        """What the table of predictions is asked."""
        return replace(self._asked, tau=self.tau)

    @cached_property
    def law(self) -> Law | NoPrediction:
        """The law of label noise, or why there is none."""
        return law_of(self._asked, self.manifold)

    @cached_property
    def stability_limit(self) -> float:
        """That of the law; where there is none, that of SGD with replacement, which the SDE does not exceed either."""
        if isinstance(self.law, NoPrediction):
            return self._plain_limit * (1 - self.choice.momentum)
        own = self.least_limit(self.law)
        return min(own, self._plain_limit) if self.choice.dynamics in ("sde", "sde2") else own

    @cached_property
    def _plain_limit(self) -> float:
        """That of SGD with replacement."""
        noise = "flips" if self.choice.noise == "flips" else "gaussian"
        plain = replace(self._asked, dynamics="sgd", noise=noise, sampling="with-replacement", sigma=1.0, momentum=0.0)
        law = law_of(plain, self.manifold)
        assert not isinstance(law, NoPrediction)
        return self.least_limit(law)

    @property
    def _auto_eta(self) -> float:
        """A share of the stability limit; laws of leading order want eta / (1 - beta) as small as without momentum."""
        if self.choice.noise not in _SHARES:
            return self.settings.eta_fraction * self.stability_limit
        return _SHARES[self.choice.noise] * (1 - self.choice.momentum) * self._plain_limit

    @cached_property
    def eta(self) -> float:
        """As given, or a share of the stability limit. Raises InputError above it, unless forced."""
        if self.settings.eta == "auto":
            return self._auto_eta
        if self.settings.eta >= self.stability_limit and not self.settings.force:
            rule = f"exceeds the mean-square stability limit {self.stability_limit:.6g} of this dynamics"
            raise InputError("eta", self.settings.eta, rule, "lower eta, or --force to watch it diverge")
        return self.settings.eta

    @property
    def stable(self) -> bool:
        """Whether a law exists at this learning rate."""
        return self.eta < self.stability_limit

    @cached_property
    def _rates(self) -> FloatArray:
        """Eigenvalues of the Hessian at the start, increasing."""
        return np.asarray(np.linalg.eigvalsh(self.manifold.kernel(self.point)) / self.problem.n)

    @cached_property
    def relaxation(self) -> float:
        """Steps in which the slowest residual falls by e."""
        lag, scale = 1 - self.choice.momentum, self.choice.flip * (1 - self.choice.flip) or 1.0
        return max(lag / (scale * self.eta * float(self._rates[0])), 1 / lag)

    @cached_property
    def duration(self) -> int:
        """Steps: as given; until the law has shown its drift; or some relaxation times where nothing drifts."""
        if self.settings.steps != "auto":
            return self.settings.steps
        steps = (_RELAXATIONS if self.choice.noise == "isotropic" else _FOLDINGS) * self.relaxation
        if self.choice.noise == "dropout":
            steps = 3 * (1 - self.choice.momentum) / (self.eta * self.choice.dropout * float(self._rates[-1]))
        drifts = not isinstance(self.law, NoPrediction) and (self.choice.sigma > 0 or self.choice.flip > 0)
        if not isinstance(self.law, NoPrediction) and drifts and self.stable:
            steps = self.drifted(self.law)
        if not steps <= _MOST_STEPS:
            rule = f"would take {steps:.3g} steps by the law"
            raise InputError("steps", "auto", rule, "give --steps, a larger --sigma, or --depth above 1")
        return max(int(steps), 1000)

    @cached_property
    def tau(self) -> float:
        """Isotropic noise: as given, or what spreads replicas by a stated share over the run."""
        if self.choice.noise != "isotropic" or self.choice.tau > 0:
            return self.choice.tau
        return float(SPREAD / (self.unit_spread() * np.sqrt(self.duration)))

    @cached_property
    def steps(self) -> IntArray:
        """Step numbers of the records; under shuffling they fall on all places of an epoch in turn."""
        steps = np.unique(np.linspace(0, self.duration, self.settings.records + 1).astype(np.int64))
        if self.choice.sampling == "shuffle":
            places = max(self.problem.n // self.settings.batch, 1)
            gap = int(np.diff(steps).min())
            steps[1:-1] = steps[1:-1] // places * places + np.arange(1, len(steps) - 1) % places
            steps = np.unique(np.clip(steps, 0, self.duration)) if gap else steps
        return steps

    @cached_property
    def scale(self) -> float:
        """|w| at the start: replicas far beyond it count as diverged."""
        return float(np.hypot(self.minima.norm_w_mn, self.rho0))

    @cached_property
    def dynamics(self) -> Dynamics:
        """What runs."""
        c, (problem, _) = self.choice, self.coordinates
        kind = self.base.parametrization
        if c.dynamics == "gradient-flow":
            return GradientFlow(problem, kind)
        if c.dynamics == "slow-law":
            if isinstance(self.law, NoPrediction):
                raise InputError("noise", c.noise, f"has no slow law here: {self.law.why}", "choose another sampling")
            return self.slow_law(self.law)
        if c.dynamics == "sde":
            return self.euler_maruyama()
        if c.dynamics == "sde2":
            return WeakSecondOrder(problem, kind, self.scale, self.eta, True)
        variant = Variant(
            momentum=c.momentum, isotropic=self.tau, flip=c.flip or None, dropout=c.dropout,
            label=c.noise if c.noise in ("rademacher", "student") else "gaussian",  # type: ignore[arg-type]
            freedom=c.freedom or 8.0, sampling=c.sampling,  # type: ignore[arg-type]
        )  # fmt: skip
        variant.require_batch(self.settings.batch, problem.n)
        return VariantSGD(problem, kind, self.scale, variant)

    @property
    def substeps(self) -> int:
        """Steps of the scheme per step of SGD: 1 but for the stochastic differential equation."""
        return max(int(self.choice.substeps), 1)

    @property
    def noise(self) -> Noise:
        """Batch, fresh label noise and seed."""
        sigma = 0.0 if self.choice.noise == "static" else self.choice.sigma
        return Noise(self.settings.batch, sigma, self.settings.seed)


def _relabelled(problem: Problem, y: FloatArray) -> Problem:
    """The problem with other labels, its test loss kept."""
    return Problem(problem.X, y, w_star=problem.w_star, X_test=problem.X_test, y_test=problem.y_test, name=problem.name)
