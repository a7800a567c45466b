"""Replicas of a job on a device: the observables of `numerics.sgd.simulate` at the same steps, with equal draws."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from numerics.device.ensemble import Choice, Ensemble, chosen_engine, predicted_bytes
from numerics.device.work import Cells, FloatArray, IntArray, Model, Work, divergence_limit
from numerics.schedule import Schedule
from numerics.sgd import Noise, tabulated


def simulate(
    model: Model,
    states: FloatArray,
    schedule: Schedule,
    steps: IntArray,
    *,
    noise: Noise,
    first: int,
    device: torch.device,
    engine: Choice,
    precision: str,
    tick: Callable[[int], Any],
) -> dict[str, FloatArray]:
    """Every observable at every step, ``(steps, R)``, of replicas first, first + 1, ...; leaves states at steps[-1].

    Raises InputError for an engine that cannot do this work.
    """
    count = len(states)
    cells = Cells(states, np.ones(count), np.full(count, noise.sigma), np.full(count, divergence_limit(model)))
    ensemble = Ensemble(
        model,
        cells,
        replicas=np.arange(first, first + count),
        batch=noise.batch,
        seed=noise.seed,
        device=device,
        engine=engine,
        precision=precision,
    )
    ensemble.step = int(steps[0])
    rows = _records(ensemble, model, states, schedule, steps, tick)
    return tabulated(rows, len(steps), count)


def _records(
    ensemble: Ensemble,
    model: Model,
    states: FloatArray,
    schedule: Schedule,
    steps: IntArray,
    tick: Callable[[int], Any],
) -> Iterator[dict[str, FloatArray]]:
    """Observed on the host. Stops early when every replica has diverged, as numba's does."""
    for wanted in steps.tolist():
        ensemble.advance(wanted - ensemble.step, tick, schedule=schedule)
        states[...] = ensemble.states()
        observed = model.observe(states)
        yield observed
        if np.all(np.isnan(observed["loss"])):
            return


def memory(model: Model, noise: Noise, replicas: int, device: torch.device, engine: Choice, precision: str) -> int:
    """Bytes on the device that `simulate` takes at its peak. Raises InputError for an engine that cannot do it."""
    work = Work.of(model, batch=noise.batch, seed=noise.seed)
    return predicted_bytes(work, replicas, chosen_engine(engine, work, device), precision, device)
