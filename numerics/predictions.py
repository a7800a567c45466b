"""The floor and drift that theory predicts for a dynamics under a noise model, or "no prediction" and why.

The one table of what is predicted: `law_of` finds the law of a request on given minima, `foresee` puts numbers to it.
docs/howto/dynamics.md shows it. The minima are a ray (Radial), a point of which is its rho, or a manifold (separable
parametrizations), a point of which is u.
"""

from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.epoch_law import MOST_ROWS, MOST_ROWS_MOMENTUM, EpochMoments
from numerics.manifold_law import ManifoldLaw, ManifoldPath
from numerics.moments import BatchMoments, Moments, MomentumMoments, SdeMoments
from numerics.noise_laws import dropout_path, isotropic_rates
from numerics.power_law import PowerLaw
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.ray_law import RayLaw, RayPath
from numerics.separable_manifold import SeparableManifold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Minima = RadialManifold | SeparableManifold
Law = RayLaw | ManifoldLaw

#: the share of its way from which on a share is judged relative to itself
_LEAST_SHARE = 0.05
FRESH = ("gaussian", "rademacher", "student")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What runs: names as on the command line; numbers that play no part are 0."""

    dynamics: str
    noise: str
    sampling: str
    batch: int
    sigma: float
    momentum: float = 0.0
    flip: float = 0.0
    tau: float = 0.0
    dropout: float = 0.0
    substeps: int = 1


@dataclass(frozen=True)
class NoPrediction:
    """Why theory says nothing here."""

    why: str


@dataclass(frozen=True)
class Foreseen:
    """Values ``(steps,)``, the relative size ``model (steps,)`` of what is neglected, the standard error of a sampled
    prediction, relative, and which claim it is, to which order.
    """

    values: FloatArray
    model: FloatArray
    sem: float
    claim: str
    order: str


@dataclass(frozen=True, eq=False)
class Way:
    """A straight way in the space of predictors, from w to w + change, both ``(d,)``."""

    w: FloatArray
    change: FloatArray

    def share(self, w: FloatArray) -> FloatArray:
        """How far along it predictors ``(..., d)`` are: 0 at its beginning, 1 at its end."""
        return np.asarray((w - self.w) @ self.change / (self.change @ self.change))


@dataclass(frozen=True)
class Prediction:
    """Floor: mean of |X F(u) - t|^2 / 2n. Drift: rho. ``spread``: standard deviation of rho, if predicted. Off a ray
    rho says little of the drift: ``progress`` is the share that w has come of ``way``, the law's from start to end.
    """

    floor: Foreseen | NoPrediction
    rho: Foreseen | NoPrediction
    spread: FloatArray | None = None
    progress: Foreseen | None = None
    way: Way | None = None


@overload
def law_of(request: Request, minima: RadialManifold) -> RayLaw | NoPrediction: ...
@overload
def law_of(request: Request, minima: SeparableManifold) -> ManifoldLaw | NoPrediction: ...
def law_of(request: Request, minima: Minima) -> Law | NoPrediction:
    """The law of label noise or flips, where there is one."""
    scale = request.flip * (1 - request.flip) if request.noise == "flips" else 1.0
    sigma = scale**-0.5 if request.noise == "flips" else request.sigma
    if request.noise not in (*FRESH, "flips"):
        return NoPrediction(f"{request.noise} is not noise on labels")
    moments = _moments(replace(request, sigma=sigma), _rows(minima))
    if isinstance(moments, NoPrediction):
        return moments
    settings = (moments, scale, 1 - request.momentum, request.dynamics == "sde2")
    return RayLaw(minima, *settings) if isinstance(minima, RadialManifold) else ManifoldLaw(minima, *settings)


def _rows(minima: Minima) -> int:
    return minima.y.size if isinstance(minima, RadialManifold) else minima.problem.n


def _moments(request: Request, n: int) -> Moments | NoPrediction:
    batch, sigma, replace_rows = request.batch, request.sigma, request.sampling == "with-replacement"
    if request.dynamics == "sde":
        return SdeMoments(batch, sigma, corrected=False, substeps=request.substeps)
    if request.dynamics == "sde2":
        return SdeMoments(batch, sigma, corrected=True)
    if request.sampling == "shuffle":
        most, unknowns = (MOST_ROWS_MOMENTUM, "(2n)^2") if request.momentum else (MOST_ROWS, "n^2")
        if n > most:
            return NoPrediction(f"the epoch's equation has {unknowns} unknowns and is solved up to n = {most}")
        return EpochMoments(batch, sigma, momentum=request.momentum)
    if request.dynamics == "momentum":
        return MomentumMoments(batch, sigma, request.momentum, replace_rows, request.tau)
    return BatchMoments(batch, sigma, replace_rows, request.tau)


def claim_of(request: Request, minima: Minima) -> str:
    """The claim that a prediction belongs to."""
    if request.noise not in (*FRESH, "flips"):
        return "C10"
    if request.noise == "flips":
        return "C11"
    plain = "C4" if isinstance(minima, RadialManifold) else "C3"
    return {"momentum": "C13", "sde": "C14", "sde2": "C14"}.get(request.dynamics, plain)


def settled(minima: Minima, problem: Problem, u: FloatArray) -> Any:
    """The point of the minima that gradient flow goes to from u ``(p,)``."""
    if isinstance(minima, SeparableManifold):
        return minima.relaxed(u)
    rho = minima.relaxed(np.array([np.linalg.norm(problem.null_part(u))]), np.array([np.linalg.norm(u)]))
    return float(abs(rho[0]))


def foresee(
    request: Request, minima: Minima, problem: Problem, u: FloatArray, *, eta: float, steps: IntArray
) -> Prediction:
    """Floor and drift at steps from u ``(p,)``; the minima are those the dynamics goes to."""
    noise = "none" if request.dynamics == "gradient-flow" and request.noise != "static" else request.noise
    if noise == "dropout":
        return _dropout(request, minima, problem, u, eta, steps)
    point = settled(minima, problem, u)
    if noise in ("none", "minibatch", "static"):
        return _still(request, minima, problem, u, point, eta, steps)
    if noise == "isotropic":
        if isinstance(minima, SeparableManifold):
            return _isotropic_on_manifold(request, minima, point, eta, steps)
        return _isotropic(request, minima, point, eta, steps, problem.d)
    law = law_of(request, minima)
    if isinstance(law, NoPrediction):
        return Prediction(law, law)
    return _drifting(request, law, point, eta, steps)


def _drifting(request: Request, law: Law, point: Any, eta: float, steps: IntArray) -> Prediction:
    path: RayPath | ManifoldPath = law.path(point, eta, steps)
    scheme = _scheme_error(request, law.manifold.kernel(point), eta)
    floor_sem, rate_sem = _sampled(law, point, eta)
    order = "leading order in the fluctuation" if request.noise == "flips" else "any eta and batch"
    order += " and time step of the scheme" if request.dynamics == "sde" else ""
    claim = claim_of(request, law.manifold)
    neglected = path.remainder + scheme
    floor = Foreseen(path.floor, neglected, floor_sem, "C2" if claim in ("C3", "C4") else claim, order)
    if isinstance(path, ManifoldPath):
        return _on_way(path, floor, rate_sem, claim, scheme)
    drift_sem = rate_sem * abs(float(np.log(path.rho[-1] / point)))
    return Prediction(floor, Foreseen(path.rho, neglected, drift_sem, claim, order))


def _on_way(path: ManifoldPath, floor: Foreseen, sem: float, claim: str, scheme: float) -> Prediction:
    """rho, and the share of the law's own way that w has come: what is neglected has the size remainder |w|."""
    way, size = Way(path.w[0], path.w[-1] - path.w[0]), path.remainder * np.linalg.norm(path.w, axis=1)
    length = float(np.linalg.norm(way.change))
    rho = Foreseen(path.rho, (size + scheme * length) / path.rho, sem * length / path.rho[-1], claim, floor.order)
    if length == 0:
        return Prediction(floor, rho)
    share = way.share(path.w)
    neglected = size / (length * np.maximum(share, _LEAST_SHARE)) + scheme
    return Prediction(floor, rho, progress=Foreseen(share, neglected, sem, claim, floor.order), way=way)


def _scheme_error(request: Request, K: FloatArray, eta: float) -> float:
    """Relative size of what the scheme of second order adds in h lambda_max, h its time step."""
    step = eta / request.substeps * float(np.linalg.eigvalsh(K)[-1]) / len(K)
    return step**2 / 2 if request.dynamics == "sde2" else 0.0


def _sampled(law: Law, point: Any, eta: float) -> tuple[float, float]:
    """Relative standard errors of floor and rate, where orders of the epoch are sampled."""
    moments = law.moments
    groups = moments.groups(_rows(law.manifold)) if isinstance(moments, EpochMoments) else []
    if not groups:
        return 0.0, 0.0
    laws = [replace(law, moments=group) for group in groups]
    floors = np.array([each.floor(point, eta) for each in laws])
    speeds = np.array([each.speed(point, eta) for each in laws])
    sems = [float(np.std(x, ddof=1) / np.sqrt(x.size) / np.mean(x)) for x in (floors, speeds)]
    return sems[0], sems[1]


def _still(
    request: Request, minima: Minima, problem: Problem, u: FloatArray, point: Any, eta: float, steps: IntArray
) -> Prediction:
    """Nothing moves once labels are interpolated; a start off the manifold relaxes to where gradient flow goes.

    What steps of finite size add to that is of the order eta |g|^2 L_0 / (mu |u|^2), mu the slowest rate.
    """
    K, constant = minima.kernel(point), np.ones(len(steps))
    if isinstance(minima, RadialManifold):
        rho, w = point, minima.gain(float(np.linalg.norm(u))) * u
    else:
        rho, w = minima.rho(point), minima.predictor(u)
    loss = float(problem.train_loss(w))
    off = eta * loss * float(np.max(np.diag(K))) * len(K) / float(np.linalg.eigvalsh(K)[0]) / float(u @ u)
    off = 0.0 if request.dynamics == "gradient-flow" else off
    exact = "any eta and batch, once the loss has gone"
    law = Foreseen(rho * constant, off * constant, 0.0, "C10", "leading order in eta on the way to the minima")
    return Prediction(Foreseen(0 * constant, 0 * constant, 0.0, "C10", exact), law)


def _isotropic(
    request: Request, manifold: RadialManifold, rho0: float, eta: float, steps: IntArray, d: int
) -> Prediction:
    """Floor from the linear equation with tau^2 K for its source; rho diffuses: mean and variance to leading order."""
    effective = eta / (1 - request.momentum)

    def rates(_: float, x: FloatArray) -> list[float]:
        here = isotropic_rates(manifold, float(x[0]), eta=effective, tau=request.tau, d=d)
        near = isotropic_rates(manifold, float(x[0]) * (1 + 1e-3), eta=effective, tau=request.tau, d=d)
        slope = (near.drift - here.drift) / (1e-3 * float(x[0]))
        return [here.drift, here.variance + 2 * slope * float(x[1])]

    found = solve_ivp(rates, (steps[0], steps[-1]), [rho0, 0.0], method="RK23", t_eval=steps, rtol=1e-5, atol=1e-10)
    mean, variance = found.y
    K = manifold.kernel(rho0)
    values = np.linalg.eigvalsh(K) / len(K)
    # the small eta's next order, the fluctuations within one relaxation time, and the law's curvature over the spread
    model = effective * values[-1] / 2 + variance / rho0**2 + np.abs(mean / rho0 - 1) * effective * values[-1]
    rho = Foreseen(mean, model * np.abs(mean - rho0) / rho0 + variance / rho0**2, 0.0, "C10", "leading order in eta")
    floor = _isotropic_floor(request, K, manifold.y, eta, np.sqrt(variance) / rho0)
    return Prediction(floor, rho, np.sqrt(variance))


def _isotropic_on_manifold(
    request: Request, manifold: SeparableManifold, u: FloatArray, eta: float, steps: IntArray
) -> Prediction:
    """The floor at the start's kernel. Points diffuse along the manifold: K changes by the square of their way, in the
    mean, relative to |u|^2.
    """
    effective = eta / (1 - request.momentum)
    spread = (effective * request.tau) ** 2 * (u.size - manifold.problem.n) * (steps - steps[0]) / float(u @ u)
    floor = _isotropic_floor(request, manifold.kernel(u), manifold.problem.y, eta, spread)
    why = "isotropic noise diffuses along the manifold of minima: derived where that is a ray, for radial"
    return Prediction(floor, NoPrediction(why))


def _isotropic_floor(
    request: Request, K: FloatArray, y: FloatArray, eta: float, moved: FloatArray
) -> Foreseen | NoPrediction:
    """From the linear equation with tau^2 K for its source; ``moved (steps,)`` is what K's change adds, relative."""
    moments = _moments(replace(request, sigma=0.0), len(K))
    if isinstance(moments, NoPrediction | EpochMoments):
        return NoPrediction("isotropic noise in the epoch's equation is not derived")
    C = moments.stationary(K, eta).covariance
    floor = np.full(len(moved), np.trace(C) / (2 * len(K)))
    return Foreseen(floor, np.trace(C) / float(y @ y) + moved, 0.0, "C10", "any eta and batch")


def _dropout(
    request: Request, minima: Minima, problem: Problem, u: FloatArray, eta: float, steps: IntArray
) -> Prediction:
    """Gradient flow of the loss averaged over masks, to leading order in eta. The loss rests where that has its
    minimum, off the manifold: the fluctuation around it has no closed equation.
    """
    effective, shape = eta / (1 - request.momentum), minima.parametrization
    assert not isinstance(shape, PowerLaw)  # which is of laws alone, and no map of parameters
    times = effective * (steps - steps[0])
    path = dropout_path(problem, shape, u, dropout=request.dropout, times=times)
    why = "dropout moves the minima off the manifold, and masks the gradient's directions: C2 has no equation for it"
    ray = isinstance(minima, RadialManifold)
    K = minima.kernel(settled(minima, problem, u))
    model = effective * float(np.linalg.eigvalsh(K)[-1]) / len(K)
    order, floor = "leading order in eta", NoPrediction(why)
    change = np.abs(path.rho - path.rho[0]) if ray else np.linalg.norm(path.w - path.w[0], axis=1)
    rho = Foreseen(path.rho, model * change / path.rho, 0.0, "C10", order)
    if ray or change[-1] == 0:
        return Prediction(floor, rho)
    way = Way(path.w[0], path.w[-1] - path.w[0])
    return Prediction(floor, rho, progress=Foreseen(way.share(path.w), model + 0 * change, 0.0, "C10", order), way=way)


__all__ = ["Foreseen", "NoPrediction", "Prediction", "Request", "Way", "foresee", "law_of", "settled"]
