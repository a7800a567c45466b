"""The floor and drift that theory predicts for a dynamics under a noise model, or "no prediction" and why.

The one table of what is predicted: `ray_law` finds the law of a request, `foresee` puts numbers to it.
docs/howto/dynamics.md
shows it.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.epoch_law import MOST_ROWS, EpochMoments
from numerics.moments import BatchMoments, Moments, MomentumMoments, SdeMoments
from numerics.noise_laws import dropout_path, isotropic_rates
from numerics.problem import Problem
from numerics.ray_law import RayLaw, RayPath
from numerics.scalar_law import RadialManifold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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


@dataclass(frozen=True)
class Prediction:
    """Floor: mean of |X F(u) - t|^2 / 2n. Drift: rho. ``spread``: standard deviation of rho, if predicted."""

    floor: Foreseen | NoPrediction
    rho: Foreseen | NoPrediction
    spread: FloatArray | None = None


def ray_law(request: Request, manifold: RadialManifold) -> RayLaw | NoPrediction:
    """The law of label noise or flips on the ray, where there is one."""
    scale = request.flip * (1 - request.flip) if request.noise == "flips" else 1.0
    sigma = scale**-0.5 if request.noise == "flips" else request.sigma
    if request.noise not in (*FRESH, "flips"):
        return NoPrediction(f"{request.noise} is not noise on labels")
    moments = _moments(replace(request, sigma=sigma), len(manifold.y))
    if isinstance(moments, NoPrediction):
        return moments
    return RayLaw(manifold, moments, scale, 1 - request.momentum, request.dynamics == "sde2")


def _moments(request: Request, n: int) -> Moments | NoPrediction:
    batch, sigma, replace_rows = request.batch, request.sigma, request.sampling == "with-replacement"
    if request.dynamics in ("sde", "sde2"):
        return SdeMoments(batch, sigma, request.dynamics == "sde2")
    if request.sampling == "shuffle":
        if request.dynamics == "momentum":
            return NoPrediction("momentum remembers batches that the rest of the epoch depends on: not derived")
        if n > MOST_ROWS:
            return NoPrediction(f"the epoch's equation has n^2 unknowns and is solved up to n = {MOST_ROWS}")
        return EpochMoments(batch, sigma)
    if request.dynamics == "momentum":
        return MomentumMoments(batch, sigma, request.momentum, replace_rows, request.tau)
    return BatchMoments(batch, sigma, replace_rows, request.tau)


def claim_of(request: Request) -> str:
    """The claim that a prediction belongs to."""
    if request.noise not in (*FRESH, "flips"):
        return "C10"
    if request.noise == "flips":
        return "C11"
    return {"momentum": "C13", "sde": "C14", "sde2": "C14"}.get(request.dynamics, "C4")


def foresee(
    request: Request, manifold: RadialManifold, problem: Problem, u: FloatArray, *, eta: float, steps: IntArray
) -> Prediction:
    """Floor and drift at steps from u ``(d,)``; the manifold is that of the minima the dynamics goes to."""
    noise = "none" if request.dynamics == "gradient-flow" and request.noise != "static" else request.noise
    start = manifold.relaxed(np.array([np.linalg.norm(problem.null_part(u))]), np.array([np.linalg.norm(u)]))
    rho0 = float(abs(start[0]))
    if noise in ("none", "minibatch", "static"):
        return _still(request, manifold, problem, u, rho0, eta, steps)
    if noise == "isotropic":
        return _isotropic(request, manifold, rho0, eta, steps, problem.d)
    if noise == "dropout":
        return _dropout(request, manifold, problem, u, eta, steps)
    law = ray_law(request, manifold)
    if isinstance(law, NoPrediction):
        return Prediction(law, law)
    return _on_ray(request, law, rho0, eta, steps)


def _on_ray(request: Request, law: RayLaw, rho0: float, eta: float, steps: IntArray) -> Prediction:
    path = law.path(rho0, eta, steps)
    path = replace(path, remainder=path.remainder + _scheme_error(request, law.manifold.kernel(rho0), eta))
    floor_sem, rate_sem = _sampled(law, rho0, eta)
    order = "leading order in the fluctuation" if request.noise == "flips" else "any eta and batch"
    claim = claim_of(request)
    drift_sem = rate_sem * abs(float(np.log(path.rho[-1] / rho0)))
    floor = Foreseen(path.floor, path.remainder, floor_sem, "C2" if claim == "C4" else claim, order)
    return Prediction(floor, Foreseen(path.rho, path.remainder, drift_sem, claim, order))


def _scheme_error(request: Request, K: FloatArray, eta: float) -> float:
    """Relative size of what the SDE's scheme adds, of first or second order in h lambda_max, h its time step."""
    step = eta / request.substeps * float(np.linalg.eigvalsh(K)[-1]) / len(K)
    return {"sde": step / 2, "sde2": step**2 / 2}.get(request.dynamics, 0.0)


def _sampled(law: RayLaw, rho: float, eta: float) -> tuple[float, float]:
    """Relative standard errors of floor and rate, where orders of the epoch are sampled."""
    moments = law.moments
    groups = moments.groups(len(law.manifold.y)) if isinstance(moments, EpochMoments) else []
    if not groups:
        return 0.0, 0.0
    laws = [replace(law, moments=group) for group in groups]
    floors = np.array([each.floor(rho, eta) for each in laws])
    rates = np.array([each.log_rate(rho, eta) for each in laws])
    sems = [float(np.std(x, ddof=1) / np.sqrt(x.size) / abs(np.mean(x))) for x in (floors, rates)]
    return sems[0], sems[1]


def _still(
    request: Request,
    manifold: RadialManifold,
    problem: Problem,
    u: FloatArray,
    rho0: float,
    eta: float,
    steps: IntArray,
) -> Prediction:
    """Nothing moves once labels are interpolated; a start off the manifold relaxes to where gradient flow goes.

    What steps of finite size add to that is of the order eta |g|^2 L_0 / (mu |u|^2), mu the slowest rate.
    """
    size = float(np.linalg.norm(u))
    level = manifold.functions["norm"](size) / size
    K = manifold.kernel(rho0)
    loss = float(problem.train_loss(level * u))
    off = eta * loss * float(np.max(np.diag(K))) * len(K) / float(np.linalg.eigvalsh(K)[0]) / size**2
    off = 0.0 if request.dynamics == "gradient-flow" else off
    constant = np.ones(len(steps))
    exact = "any eta and batch, once the loss has gone"
    rho = Foreseen(rho0 * constant, off * constant, 0.0, "C10", "leading order in eta on the way to the minima")
    return Prediction(Foreseen(0 * constant, 0 * constant, 0.0, "C10", exact), rho)


def _isotropic(
    request: Request, manifold: RadialManifold, rho0: float, eta: float, steps: IntArray, d: int
) -> Prediction:
    """Floor from the linear equation with tau^2 K for its source; rho diffuses: mean and variance to leading order."""
    moments = _moments(replace(request, sigma=0.0), len(manifold.y))
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
    if isinstance(moments, NoPrediction | EpochMoments):
        why = "isotropic noise in the epoch's equation is not derived"
        return Prediction(NoPrediction(why), rho, np.sqrt(variance))
    C = moments.stationary(K, eta).covariance
    floor = np.full(len(steps), np.trace(C) / (2 * len(K)))
    neglected = np.trace(C) / float(manifold.y @ manifold.y) + np.sqrt(variance) / rho0
    return Prediction(Foreseen(floor, neglected, 0.0, "C10", "any eta and batch"), rho, np.sqrt(variance))


def _dropout(
    request: Request, manifold: RadialManifold, problem: Problem, u: FloatArray, eta: float, steps: IntArray
) -> Prediction:
    """Gradient flow of the loss averaged over masks: rho, to leading order in eta. The loss rests where that has its
    minimum, off the manifold: the fluctuation around it has no closed equation.
    """
    effective = eta / (1 - request.momentum)
    path = dropout_path(manifold, problem, u, dropout=request.dropout, times=effective * (steps - steps[0]))
    K = manifold.kernel(max(float(path.rho[-1]), 1e-9))
    largest = float(np.linalg.eigvalsh(K)[-1]) / len(K)
    why = "dropout moves the minima off the manifold, and masks the gradient's directions: C2 has no equation for it"
    change = np.abs(path.rho - path.rho[0]) / path.rho
    return Prediction(
        NoPrediction(why), Foreseen(path.rho, change * effective * largest, 0.0, "C10", "leading order in eta")
    )


__all__ = ["Foreseen", "NoPrediction", "Prediction", "RayPath", "Request", "foresee", "ray_law"]
