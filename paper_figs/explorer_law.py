"""The law's curves for the explorer, tabulated: a move of a slider is answered in tens of milliseconds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from numerics.data import load
from numerics.noise_floor import floor
from numerics.problem import Problem, Reduced
from numerics.radial_manifold import RadialManifold
from numerics.run.radial_system import RadialSystem
from numerics.run.settings import validated
from numerics.scalar_law import RadialLaw
from numerics.schedule import StepDecay
from numerics.start import null_direction
from paper_figs.systems import Path
from theory.parametrization import Radial, named

FloatArray = npt.NDArray[np.float64]

TABLE = 25  # points of ln rho at which the law is evaluated
FINE = 400  # points of a curve
_FLOORS = 12  # points of rho at which the floor is evaluated
DECAY_FACTOR = 10.0
MOST_STEPS = 3e6  # that the button simulates
_SLOWEST = 1e-3  # of the first rate: there the curve ends
_RANGE = 0.03  # of rho0: there too


@dataclass(frozen=True)
class Setting:
    """Where the sliders stand.

    ``load`` is eta over the stability limit, ``rho0`` in units of |w_mn|, ``decay`` a share of the run.
    """

    n: int
    d: int
    depth: float
    load: float
    batch: int
    sigma: float
    rho0: float
    decay: float
    seed: int


@dataclass(frozen=True)
class Curves:
    """The law along a run, each ``(FINE,)``; rho in units of |w_mn|.

    ``frozen`` continues after the decay at ``decay_step``.
    """

    step: FloatArray
    rho: FloatArray
    small_eta: FloatArray
    floor: FloatArray
    test_loss: FloatArray
    best: float
    eta: float
    decay_step: float
    decay_rho: float
    floor_after: float
    selected: bool
    horizon: float


@lru_cache(maxsize=64)
def problem(n: int, d: int, seed: int) -> tuple[Problem, Reduced, FloatArray]:
    """Gaussian inputs, their reduction, and the direction in the kernel."""
    made = load("gaussian", n=n, features=d, seed=seed)
    direction = null_direction(made, seed)
    return made, made.reduced(direction), direction


@lru_cache(maxsize=64)
def _manifold(n: int, d: int, seed: int, depth: float) -> RadialManifold:
    made = problem(n, d, seed)[0]
    shape = named("radial", depth)
    assert isinstance(shape, Radial)
    return RadialManifold(shape, made.gram, made.y, made.norm_w_mn)


def curves(setting: Setting) -> Curves:
    """Everything that the explorer draws of the law."""
    made, reduced, _ = problem(setting.n, setting.d, setting.seed)
    law = RadialLaw(_manifold(setting.n, setting.d, setting.seed, setting.depth), setting.batch, setting.sigma)
    unit = made.norm_w_mn
    rho0 = setting.rho0 * unit
    eta = setting.load * _limit(setting.n, setting.d, setting.seed, setting.depth, setting.batch, setting.rho0)
    still = 100 * made.n / (eta * float(np.linalg.eigvalsh(law.manifold.kernel(rho0))[0]))
    step, rho = _tabulated(lambda x: law.log_rate(x, eta), rho0, still)
    small = np.interp(step, *_tabulated(lambda x: law.log_rate_small_eta(x, eta), rho0, still, low=_RANGE**2))
    grid = np.geomspace(rho.min(), rho.max(), _FLOORS) if np.ptp(rho) else rho[:1]
    decay_step = setting.decay * float(step[-1])
    decay_rho = float(np.interp(decay_step, step, rho))
    return Curves(
        step=step,
        rho=rho / unit,
        small_eta=small / unit,
        floor=_interpolated(rho, grid, np.array([_floor(law, float(x), eta) for x in grid])),
        test_loss=reduced.test_loss(reduced.c_mn + rho[:, None] * np.eye(made.n + 1)[-1]),
        best=float(made.test_loss(made.w_mn)),
        eta=eta,
        decay_step=decay_step,
        decay_rho=decay_rho / unit,
        floor_after=_floor(law, decay_rho, eta / DECAY_FACTOR),
        selected=law.manifold.selects_minimum_norm(),
        horizon=float(step[-1]),
    )


@lru_cache(maxsize=256)
def _limit(n: int, d: int, seed: int, depth: float, batch: int, rho0: float) -> float:
    """The stability limit: kept, as most moves leave it."""
    law = RadialLaw(_manifold(n, d, seed, depth), batch, 1.0)
    return law.stability_limit(0.0, rho0 * problem(n, d, seed)[0].norm_w_mn)


def _interpolated(x: FloatArray, grid: FloatArray, values: FloatArray) -> FloatArray:
    """Monotone between grid points, in logarithms."""
    if grid.size == 1:
        return np.full(x.shape, values[0])
    within = np.clip(np.log(x), np.log(grid[0]), np.log(grid[-1]))
    return np.asarray(np.exp(PchipInterpolator(np.log(grid), np.log(values))(within)))


def _floor(law: RadialLaw, rho: float, eta: float) -> float:
    return floor(law.manifold.kernel(rho), eta=eta, batch=law.batch, sigma=law.sigma)


def _tabulated(
    rate: Callable[[float], float], rho0: float, still: float, low: float = _RANGE
) -> tuple[FloatArray, FloatArray]:
    """Steps and rho ``(FINE,)``: the quadrature of 1/rate over ln rho, from rates at TABLE points; still.

    Steps shown of no drift.
    """
    first = rate(rho0)
    if abs(first) * still < 1e-9:
        return np.linspace(0, still, FINE), np.full(FINE, rho0)
    reach = np.log(low) if first < 0 else np.log(5.0)
    x = np.log(rho0) + np.linspace(0.0, reach, TABLE)
    rates = np.array([rate(float(np.exp(value))) for value in x])
    slow = np.flatnonzero(rates / first < _SLOWEST)
    if slow.size:
        x, rates = _until_rest(rate, x, int(slow[0]), first)
    smooth = PchipInterpolator(np.abs(x - x[0]), np.log(rates / first))
    way = np.linspace(0, abs(x[-1] - x[0]), FINE)
    pace = 1 / (abs(first) * np.exp(smooth(way)))
    step = np.append(0.0, np.cumsum((pace[1:] + pace[:-1]) / 2 * np.diff(way)))
    return step, np.asarray(np.exp(x[0] + np.sign(first) * way))


def _until_rest(
    rate: Callable[[float], float], x: FloatArray, stop: int, first: float
) -> tuple[FloatArray, FloatArray]:
    """A table that ends, by bisection, where the drift has slowed to _SLOWEST of its first rate."""
    inner, outer = x[stop - 1], x[stop]
    for _ in range(12):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if rate(float(np.exp(middle))) / first >= _SLOWEST else (inner, middle)
    points = x[0] + (inner - x[0]) * (1 - np.linspace(1, 0, TABLE) ** 2)  # denser towards the rest
    rates = np.array([rate(float(np.exp(value))) for value in points])
    good = rates / first > 0
    return points[good], rates[good]


def simulated(setting: Setting, replicas: int = 16, records: int = 40) -> dict[str, FloatArray]:
    """SGD with the decay of the setting.

    Step, and mean and standard error ``(records, 2)`` of rho / |w_mn|, train and test loss.
    """
    found = curves(setting)
    made, _, direction = problem(setting.n, setting.d, setting.seed)
    given = {"depth": setting.depth, "batch": setting.batch, "sigma": setting.sigma, "seed": setting.seed}
    settings = validated(job="explorer", out=Path(), threads=2, eta=found.eta, replicas=replicas, **given)
    system = RadialSystem(settings, made, named("radial", setting.depth), direction, setting.rho0 * made.norm_w_mn)
    decay = max(int(found.decay_step), 1)
    step = np.unique(np.append(decay, np.linspace(0, found.horizon, records))).astype(np.int64)
    table = system.simulate(
        system.states_on_manifold(), StepDecay(found.eta, decay, DECAY_FACTOR), step, lambda _: None
    )
    moments = {name: _moments(table[name]) for name in ("loss", "test_loss")}
    return {"step": step.astype(float), "rho": _moments(table["rho_slow"]) / made.norm_w_mn, **moments}


def _moments(values: FloatArray) -> FloatArray:
    return np.stack([values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])], axis=1)
