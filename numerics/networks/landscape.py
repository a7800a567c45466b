"""Train and test loss over a surface in weight space: batched, resumable; and what "open" and "closed" mean as numbers.

Losses are on clean labels and inputs exactly as given: no augmentation, and test examples never trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from numerics.networks import checkpoint
from numerics.networks.data import Array, Examples
from numerics.networks.flat import FlatModel
from numerics.networks.losses import LOSSES
from numerics.networks.measured import measure
from numerics.networks.planes import Surface
from numerics.networks.smooth_loss import SmoothLoss
from numerics.networks.surface_losses import SurfaceLosses

Report = Callable[[str], None]
#: grid points between two saves
CHUNK = 256
#: training examples of a landscape where nobody asks for more: a grid asks for thousands of passes over them
MOST = 500


@dataclass(frozen=True)
class Field:
    """The loss as a function on weight space, for training (first) and held-out (second) examples."""

    model: FlatModel
    inputs: tuple[Tensor, Tensor]
    targets: tuple[Tensor, Tensor]
    loss: str

    @classmethod
    def of(
        cls,
        model: FlatModel,
        examples: Examples,
        loss: str,
        dtype: torch.dtype,
        train: int | None = None,
        held_out: int | None = None,
    ) -> "Field":
        """The field of a network and the first ``train`` and ``held_out`` of its examples, which are in random order.

        By default all that were trained on, MOST at most, and as many held-out ones, so that both maps have the same
        sampling error.
        """
        train = min(len(examples.x), MOST if train is None else train)
        held_out = train if held_out is None else held_out
        x = torch.as_tensor(examples.x[:train], dtype=dtype), torch.as_tensor(examples.x_test[:held_out], dtype=dtype)
        labels = examples.labels[:train], examples.labels_test[:held_out]
        y = tuple(torch.as_tensor(examples.targets(part), dtype=dtype) for part in labels)
        return cls(model, x, (y[0], y[1]), loss)

    def at(self, theta: Tensor, part: int) -> Tensor:
        """The loss at theta ``(p,)`` on part 0 (train) or 1 (held out)."""
        return LOSSES[self.loss](self.model(theta, self.inputs[part]), self.targets[part])

    def over(self, surface: Surface, part: int) -> SurfaceLosses:
        """The loss on one part over a surface."""
        return SurfaceLosses(self.model, surface, self.inputs[part], self.targets[part], self.loss)

    def smooth(self, surface: Surface, part: int) -> SmoothLoss:
        """The same with derivatives, in double precision."""
        return SmoothLoss.of(self.model, surface, self.inputs[part], self.targets[part], self.loss)

    def many(self, theta: Tensor) -> Array:
        """Losses ``(m, 2)`` at theta ``(m, p)``, train and held out."""
        pairs = zip(self.inputs, self.targets, strict=True)
        return np.stack([measure(self.model, theta, x, y, loss=self.loss).loss for x, y in pairs], axis=1)


def grid_losses(
    field: Field, surface: Surface, a: Array, b: Array, *, folder: Path, mark: str, report: Report
) -> Array:
    """Losses ``(len(a), len(b), 2)`` on the grid; chunks of points, saved as it goes, resumed after a kill.

    ``mark`` names surface, grid and data: it is part of the file's name. Raises InputError for a damaged file.
    """
    coordinates = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    losses = _resume(_grid_file(folder, mark))
    points = torch.as_tensor(coordinates, dtype=surface.origin.dtype)
    both = [field.over(surface, part) for part in (0, 1)]
    while len(losses) < len(points):
        part = points[len(losses) : len(losses) + CHUNK]
        fresh = torch.stack([evaluate(part) for evaluate in both], dim=1).double().numpy()
        losses = np.concatenate([losses, fresh])
        checkpoint.save(_grid_file(folder, mark), {"losses": losses}, {"mark": mark})
        report(f"landscape: {len(losses)} of {len(points)} points")
    return losses.reshape(len(a), len(b), 2)


def _grid_file(folder: Path, mark: str) -> Path:
    return folder / f"grid-{mark[:16]}{checkpoint.SUFFIX}"


def _resume(path: Path) -> Array:
    return checkpoint.load(path)[0]["losses"] if path.exists() else np.empty((0, 2))


@dataclass(frozen=True)
class Openness:
    """How open a valley is. ``border``: share of the border inside the level set ``level``; ``ratio``: smaller over
    larger curvature at the minimum ``at (2,)`` of value ``minimum``. A valley through the plane has border > 0 and
    ratio near 0; a closed bowl has border 0 and a ratio of order 1.
    """

    border: float
    ratio: float
    curvatures: tuple[float, float]
    minimum: float
    at: tuple[float, float]
    level: float


def border_share(losses: Array, level: float) -> float:
    """Share of the border of losses ``(na, nb)``, each of the four sides counted alike, where loss ≤ ``level``."""
    sides: list[NDArray[np.float64]] = [losses[0], losses[-1], losses[:, 0], losses[:, -1]]
    return float(np.mean([np.mean(side <= level) for side in sides]))


def openness(field: Field, surface: Surface, part: int, a: Array, b: Array, losses: Array, *, above: float) -> Openness:
    """Openness of part 0 (train) or 1 (held out) at the level ``above`` over its own minimum on the surface.

    The minimum starts from the best grid point and is refined by Newton steps with exact derivatives in (a, b).
    """
    function = field.smooth(surface, part)
    best = np.unravel_index(np.argmin(losses), losses.shape)
    start = np.array([a[best[0]], b[best[1]]])
    at = _refined(function, start, losses[best], bounds=((a[0], a[-1]), (b[0], b[-1])))
    minimum = function.value(at)
    small, large = np.linalg.eigvalsh(function.hessian(at))
    level = minimum + above
    ratio = float(small / large) if large > 0 else float("nan")
    return Openness(border_share(losses, level), ratio, (small, large), minimum, (at[0], at[1]), level)


def _refined(function: SmoothLoss, start: Array, value: float, bounds: tuple[tuple[float, float], ...]) -> Array:
    """A local minimum near ``start`` within the grid; the start itself where nothing is lower."""
    found = minimize(function.value, start, jac=function.slope, bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x) if found.fun < value else start
