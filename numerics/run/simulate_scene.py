"""What `simulate` runs: problem, manifold, start, learning rate, number of steps, dynamics and request of a choice."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from numerics import start
from numerics.classification_law import flip_law
from numerics.dynamics import (
    Dynamics,
    EulerMaruyama,
    GradientFlow,
    Variant,
    VariantSGD,
    WeakSecondOrder,
    compact,
)
from numerics.errors import InputError
from numerics.moments import BatchMoments
from numerics.noise_laws import isotropic_rates
from numerics.predictions import NoPrediction, Request, ray_law
from numerics.problem import Problem
from numerics.ray_law import RayLaw
from numerics.run.radial_system import RadialSystem
from numerics.run.settings import Settings
from numerics.run.simulate_options import Choice
from numerics.run.system import make_system
from numerics.scalar_law import RadialManifold
from numerics.sgd import Noise
from numerics.slow_dynamics import SlowLaw

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: share of the stability limit that `auto` takes, where it is not that of the jobs: the law is of leading order there
_SHARES = {"flips": 0.01, "isotropic": 0.1, "dropout": 0.05}
#: rho falls to this share of rho0 in `auto` steps, and with --small; for the SDE's costly schemes
_TARGETS, _SDE_TARGETS = (0.6, 0.8), (0.95, 0.98)
_MOST_STEPS = 3e8
#: standard deviation of rho over rho at the end, with `auto` tau, after so many relaxation times
_SPREAD, _RELAXATIONS = 0.05, 12
#: e-foldings of the loss until a start off the minima counts as interpolated
_FOLDINGS = 40


@dataclass(frozen=True, eq=False)
class Scene:
    """A choice on a problem. ``base`` knows data, parametrization and direction."""

    base: RadialSystem
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
        if self.choice.noise != "flips":
            return self.problem
        law = flip_law(self.problem, self.base.parametrization, flip=self.choice.flip, batch=self.settings.batch)
        return law.problem

    @cached_property
    def manifold(self) -> RadialManifold:
        """The ray of those minima."""
        minima = self.minima
        return RadialManifold(self.base.parametrization, minima.gram, minima.y, minima.norm_w_mn)

    @cached_property
    def rho0(self) -> float:
        """As the jobs take it, in units of the minima's |w_mn| where it is automatic."""
        return self.base.rho0 / self.base.problem.norm_w_mn * self._start_problem.norm_w_mn

    @property
    def _start_problem(self) -> Problem:
        """Static corruption starts where the clean labels are interpolated."""
        return self.base.problem if self.choice.noise == "static" else self.minima

    @cached_property
    def u(self) -> FloatArray:
        """Starting parameters ``(d,)``."""
        problem = self._start_problem
        manifold = RadialManifold(self.base.parametrization, problem.gram, problem.y, problem.norm_w_mn)
        w = start.on_manifold(problem, self.rho0, self.base.direction)
        return start.radial_from_predictor(w, manifold.radius(self.rho0))

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
        )

    @cached_property
    def request(self) -> Request:
        """What the table of predictions is asked."""
        return replace(self._asked, tau=self.tau, substeps=self.substeps)

    @cached_property
    def law(self) -> RayLaw | NoPrediction:
        """The law on the ray of label noise, or why there is none."""
        return ray_law(self._asked, self.manifold)

    @cached_property
    def stability_limit(self) -> float:
        """That of the law; where there is none, that of SGD with replacement, which the SDE does not exceed either."""
        limit = self._plain_limit(1 - self.choice.momentum)
        if isinstance(self.law, NoPrediction):
            return limit * (1 - self.choice.momentum)
        own = self.law.stability_limit(0.0, self.rho0)
        return min(own, limit) if self.choice.dynamics in ("sde", "sde2") else own

    def _plain_limit(self, lag: float) -> float:
        """That of SGD with replacement; ``lag`` is 1 - beta of heavy ball."""
        scale = self.choice.flip * (1 - self.choice.flip) if self.choice.noise == "flips" else 1.0
        return RayLaw(self.manifold, BatchMoments(self.settings.batch, 1.0), scale, lag).stability_limit(0.0, self.rho0)

    @property
    def _auto_eta(self) -> float:
        """A share of the stability limit; laws of leading order want eta / (1 - beta) as small as without momentum."""
        if self.choice.noise not in _SHARES:
            return self.settings.eta_fraction * self.stability_limit
        return _SHARES[self.choice.noise] * (1 - self.choice.momentum) * self._plain_limit(1.0)

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
    def relaxation(self) -> float:
        """Steps in which the slowest residual falls by e."""
        lowest = float(np.linalg.eigvalsh(self.manifold.kernel(self.rho0))[0]) / self.problem.n
        lag, scale = 1 - self.choice.momentum, self.choice.flip * (1 - self.choice.flip) or 1.0
        return max(lag / (scale * self.eta * lowest), 1 / lag)

    @cached_property
    def duration(self) -> int:
        """Steps: as given; until the law has shown its drift; or some relaxation times where nothing drifts."""
        if self.settings.steps != "auto":
            return self.settings.steps
        steps = (_RELAXATIONS if self.choice.noise == "isotropic" else _FOLDINGS) * self.relaxation
        if self.choice.noise == "dropout":
            steps = 3 * (1 - self.choice.momentum) / (self.eta * self.choice.dropout * self._largest)
        if isinstance(self.law, RayLaw) and self.stable and (self.choice.sigma > 0 or self.choice.flip > 0):
            targets = _SDE_TARGETS if self.choice.substeps else _TARGETS
            steps = self.law.steps_until(targets[self.settings.small], self.rho0, self.eta)
        if not steps <= _MOST_STEPS:
            rule = f"would take {steps:.3g} steps by the law"
            raise InputError("steps", "auto", rule, "give --steps, a larger --sigma, or --depth above 1")
        return max(int(steps), 1000)

    @property
    def _largest(self) -> float:
        return float(np.linalg.eigvalsh(self.manifold.kernel(self.rho0))[-1]) / self.problem.n

    @cached_property
    def tau(self) -> float:
        """Isotropic noise: as given, or what spreads rho by a stated share over the run."""
        if self.choice.noise != "isotropic" or self.choice.tau > 0:
            return self.choice.tau
        effective = self.eta / (1 - self.choice.momentum)
        unit = isotropic_rates(self.manifold, self.rho0, eta=effective, tau=1.0, d=self.problem.d)
        return float(_SPREAD * self.rho0 / np.sqrt(unit.variance * self.duration))

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

    @property
    def full(self) -> bool:
        """Whether noise leaves the span of the rows and the start, so that all d coordinates are needed."""
        return self.choice.noise in ("isotropic", "dropout")

    @cached_property
    def coordinates(self) -> tuple[Problem, FloatArray]:
        """Problem and start in the coordinates that are simulated: n + 1 (C12), or d."""
        if self.full:
            return self.problem, self.u
        reduced = self.problem.reduced(self.base.direction)
        return compact(reduced), reduced.coordinates(self.u)

    @cached_property
    def dynamics(self) -> Dynamics:
        """What runs."""
        c, (problem, _) = self.choice, self.coordinates
        kind, scale = self.base.parametrization, float(np.hypot(self.minima.norm_w_mn, self.rho0))
        if c.dynamics == "gradient-flow":
            return GradientFlow(problem, kind)
        if c.dynamics == "slow-law":
            if isinstance(self.law, NoPrediction):
                raise InputError("noise", c.noise, f"has no slow law here: {self.law.why}", "choose another sampling")
            return SlowLaw(self.law, self.minima.reduced(self.base.direction), self.eta)
        if c.dynamics in ("sde", "sde2"):
            scheme = EulerMaruyama if c.dynamics == "sde" else WeakSecondOrder
            return scheme(problem, kind, scale, self.eta, c.dynamics == "sde2")
        variant = Variant(
            momentum=c.momentum, isotropic=self.tau, flip=c.flip or None, dropout=c.dropout,
            label=c.noise if c.noise in ("rademacher", "student") else "gaussian",  # type: ignore[arg-type]
            freedom=c.freedom or 8.0, sampling=c.sampling,  # type: ignore[arg-type]
        )  # fmt: skip
        variant.require_batch(self.settings.batch, problem.n)
        return VariantSGD(problem, kind, scale, variant)

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


def make_scene(settings: Settings, choice: Choice) -> Scene:
    """Raises InputError for bad data, or a parametrization that is not radial."""
    base = make_system(settings)
    if not isinstance(base, RadialSystem):
        rule = "is not radial, which the dynamics here are written for"
        raise InputError("parametrization", settings.parametrization, rule, "use radial, or the job phase2")
    return Scene(base, choice)
