"""Small ensembles on a device, and the same replicas by numba."""

import numpy as np

from numerics.device.ensemble import Ensemble
from numerics.device.work import Cells, divergence_limit
from numerics.problem import Problem
from numerics.sgd import Noise, RadialSGD, SeparableSGD
from numerics.start import null_direction, on_manifold, radial_from_predictor
from theory.parametrization import named

SEED = 9 + (5 << 32)  # both key words at work
FAR = 2**31 + 7  # a replica's number whose word has its upper bit set


def problem(n=4, d=11):
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, d))
    return Problem(X, X @ draw.standard_normal(d) / np.sqrt(d), w_star=None)


def model(name, depth=3, n=4, d=11):
    """A simulator of numba, and one start for it."""
    found, parametrization = problem(n, d), named(name, depth)
    if name != "radial":
        separable = SeparableSGD(found, parametrization, 10.0)
        u = 0.4 + 0.3 * np.random.default_rng(2).standard_normal(separable.factors * d)
        return separable, separable.start(u, 1)[0]
    direction = null_direction(found, 1)
    radial = RadialSGD(found.reduced(direction), parametrization, 2.0)
    w = on_manifold(found, 1.2, direction)
    return radial, radial.start(radial_from_predictor(w, np.linalg.norm(w) ** (1 / depth)), 1)[0]


def cells(simulator, start, count):
    """Cells that differ in learning rate and noise."""
    starts = np.tile(start, (count, *np.ones(start.ndim, int)))
    limits = np.full(count, divergence_limit(simulator))
    return Cells(starts, np.linspace(0.01, 0.03, count), np.linspace(0.05, 0.1, count), limits)


def ensemble(simulator, settings, replicas, device, engine, *, batch=1, precision="float64"):
    """On the device."""
    options = {"batch": batch, "seed": SEED, "device": device, "engine": engine, "precision": precision}
    return Ensemble(simulator, settings, replicas=np.asarray(replicas), **options)


def by_numba(simulator, settings, replicas, steps, *, batch=1):
    """States ``(R, ...)`` after the steps, each replica run alone."""
    copies = len(replicas) // len(settings.etas)
    states = np.repeat(settings.starts, copies, axis=0)
    for i, replica in enumerate(replicas):
        etas = np.full(steps, settings.etas[i // copies])
        noise = Noise(batch, settings.sigmas[i // copies], SEED)
        simulator.advance(states[i : i + 1], np.array([replica]), etas, noise, 0)
    return states
