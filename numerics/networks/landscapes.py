"""From a trained experiment to its landscape: choose the surface, evaluate it, measure openness and projection gaps."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.errors import InputError
from numerics.networks import planes
from numerics.networks.branches import Report
from numerics.networks.landscape import Field, grid_losses, openness
from numerics.networks.landscape_figure import Landscape
from numerics.networks.planes import Surface

Array = NDArray[np.float64]
SURFACES = {
    "pca": "first two principal components of the checkpoints",
    "curved": "principal plane bent through the checkpoints",
    "branches": "plane through the trunk and two branches",
    "random": "random plane through the last checkpoint",
    "filter": "filter-normalised random plane through the last checkpoint",
}


@dataclass(frozen=True)
class Gaps:
    """Per checkpoint ``(m,)``: distance from the surface, and train and held-out loss there minus at its projection."""

    distance: Array
    train: Array
    test: Array


def surface(kind: str, field: Field, path: Tensor, ends: Tensor, *, middle: int, seed: int) -> Surface:
    """The surface called ``kind`` for trunk weights ``path (m, p)`` (from saturation on) and branch ends ``(k, p)``.

    ``middle`` is the trunk checkpoint that the plane through two branches contains. Raises InputError for other kinds.
    """
    if kind == "pca":
        return planes.principal(torch.cat([path, ends]))
    if kind == "curved":
        checkpoints = torch.cat([path, ends])
        return planes.curved(planes.principal(checkpoints), checkpoints)
    if kind == "branches":
        return planes.through(path[middle], ends[0], ends[-1])
    if kind == "random":
        return planes.random_plane(path[-1], seed=seed)
    if kind == "filter":
        return planes.filter_normalised(field.model, path[-1], seed=seed)
    raise InputError("surface", kind, "is not known", f"choose one of {', '.join(SURFACES)}")


def gaps(field: Field, on: Surface, theta: Tensor) -> Gaps:
    """What is lost by drawing each of theta ``(m, p)`` at its projection on the surface."""
    drawn = [field.many(on.points(on.coordinates(row[None]))) for row in theta]
    losses = field.many(theta) - np.concatenate(drawn)
    return Gaps(on.distances(theta), losses[:, 0], losses[:, 1])


def _window(kind: str, marks: Array) -> tuple[float, float, float, float]:
    """Grid limits around the marks ``(m, 2)``, a margin of 60 % of their span; unit disc for random directions."""
    if kind == "filter":
        return -1.0, 1.0, -1.0, 1.0
    low, high = marks.min(axis=0), marks.max(axis=0)
    span = np.maximum(high - low, 0.35 * (high - low).max())
    middle = (low + high) / 2
    low, high = middle - 0.8 * span, middle + 0.8 * span
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def landscape(
    kind: str,
    field: Field,
    *,
    steps: NDArray[np.int64],
    path: Tensor,
    starts: Tensor,
    ends: Tensor,
    middle: int,
    points: int,
    above: float,
    seed: int,
    folder: Path,
    report: Report,
) -> tuple[Landscape, Gaps, Surface]:
    """Evaluate one surface of ``points`` × ``points`` around trunk and branches; openness at ``above`` the minimum."""
    if points < 5:
        raise InputError("grid points", points, "resolve nothing", "use at least 5 per side")
    on = surface(kind, field, path, ends, middle=middle, seed=seed)
    drawn = [on.coordinates(part).double().numpy() for part in (path, starts, ends)]
    a0, a1, b0, b1 = _limits(kind, on, path, drawn)
    a, b = np.linspace(a0, a1, points), np.linspace(b0, b1, points)
    folder.mkdir(parents=True, exist_ok=True)
    losses = grid_losses(field, on, a, b, folder=folder, mark=_mark(field, on, a, b), report=report)
    report(f"landscape: minimum and curvatures of {SURFACES[kind]}")
    valleys = tuple(openness(field, on, part, a, b, losses[:, :, part], above=above) for part in (0, 1))
    title = SURFACES[kind]
    shown = Landscape(a, b, losses, steps, drawn[0], drawn[1], drawn[2], (valleys[0], valleys[1]), title)
    return shown, gaps(field, on, torch.cat([path, ends])), on


def _mark(field: Field, on: Surface, a: Array, b: Array) -> str:
    """SHA-256 of all that decides a grid."""
    digest = hashlib.sha256(str(field.model.module).encode() + field.loss.encode() + a.tobytes() + b.tobytes())
    for part in (on.origin, on.axes, on.bend, *field.inputs, *field.targets):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _limits(kind: str, on: Surface, path: Tensor, drawn: list[Array]) -> tuple[float, float, float, float]:
    if kind == "random":  # as far as the trunk travelled: the scale on which other surfaces are drawn
        reach = float((path[-1] - path[0]).norm())
        return -reach, reach, -reach, reach
    return _window(kind, np.concatenate(drawn))
