"""Two-dimensional surfaces through weight space: where they come from, and how far a network lies off them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.errors import InputError
from numerics.networks.draws import Purpose, generator
from numerics.networks.flat import FlatModel
from numerics.networks.pieces import LOOKING

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """theta(a, b) = origin + a·axes[0] + b·axes[1] + a²·bend[0] + ab·bend[1] + b²·bend[2].

    origin ``(p,)``, orthonormal or filter-scaled axes ``(2, p)``, bend ``(3, p)`` orthogonal to them (0 for a plane),
    ``explained`` ``(2,)``: each axis's share of the checkpoints' variance (NaN where no checkpoints define it).
    """

    origin: Tensor
    axes: Tensor
    bend: Tensor
    explained: tuple[float, float]

    @cached_property
    def basis(self) -> Tensor:
        """The six vectors ``(6, p)`` that its points combine, with the monomials 1, a, b, a², ab, b²."""
        return torch.cat([self.origin[None], self.axes, self.bend])

    def points(self, coordinates: Tensor) -> Tensor:
        """theta ``(m, p)`` at coordinates ``(m, 2)``."""
        theta: Tensor = self.origin + coordinates @ self.axes + monomials(coordinates) @ self.bend
        return theta

    def coordinates(self, theta: Tensor) -> Tensor:
        """Coordinates ``(m, 2)`` of the orthogonal projection of theta ``(m, p)`` on the axes."""
        gram = self.axes @ self.axes.T
        parts = [torch.linalg.solve(gram, self.axes @ (rows - self.origin).T).T for rows in _by_rows(theta)]
        return torch.cat(parts)

    def distances(self, theta: Tensor) -> Array:
        """Distance ``(m,)`` of each theta ``(m, p)`` from the surface point with its coordinates."""
        gaps = [(rows - self.points(self.coordinates(rows))).norm(dim=1) for rows in _by_rows(theta)]
        gap: Array = torch.cat(gaps).double().numpy()
        return gap


def _by_rows(theta: Tensor) -> tuple[Tensor, ...]:
    """theta ``(m, p)`` in as many rows at a time as may be looked at."""
    return torch.split(theta, max(1, LOOKING // (theta.shape[1] * theta.element_size())))


def monomials(coordinates: Tensor) -> Tensor:
    """a², ab, b² ``(..., 3)`` of coordinates ``(..., 2)``."""
    a, b = coordinates[..., 0], coordinates[..., 1]
    return torch.stack([a * a, a * b, b * b], dim=-1)


def _flat(origin: Tensor, axes: Tensor, explained: tuple[float, float] = (float("nan"), float("nan"))) -> Surface:
    return Surface(origin, axes, torch.zeros(3, origin.numel(), dtype=origin.dtype), explained)


def principal(checkpoints: Tensor) -> Surface:
    """The plane of the first two principal components of checkpoints ``(m, p)``, through their mean.

    Raises InputError for fewer than 3 checkpoints, or when they all lie on a line.
    """
    if len(checkpoints) < 3:
        raise InputError("checkpoints", len(checkpoints), "are too few for a plane", "keep at least 3")
    centre = checkpoints.mean(dim=0)
    _, values, axes = torch.linalg.svd(checkpoints - centre, full_matrices=False)
    shares = (values**2 / (values**2).sum()).tolist()
    if not values[1] > 1e-9 * values[0]:
        raise InputError("second singular value", float(values[1]), "is 0: no plane", "keep checkpoints off one line")
    return _flat(centre, axes[:2], (shares[0], shares[1]))


def through(trunk: Tensor, first: Tensor, second: Tensor) -> Surface:
    """The plane through a trunk point and the ends of two branches, each ``(p,)``; axis 0 points to the first.

    Raises InputError when the three lie on a line.
    """
    spans = torch.stack([first - trunk, second - trunk])
    axes, r = torch.linalg.qr(spans.T)
    if not r[1, 1].abs() > 1e-9 * r[0].norm():
        raise InputError("branch ends", float(r[1, 1]), "lie on one line with the trunk", "choose other branches")
    return _flat(trunk, axes.T * torch.sign(r.diagonal())[:, None])


def random_plane(origin: Tensor, *, seed: int) -> Surface:
    """A uniformly random plane through ``origin (p,)``."""
    drawn = generator(seed, Purpose.PLANE).standard_normal((2, origin.numel()))
    axes, _ = torch.linalg.qr(torch.as_tensor(drawn, dtype=origin.dtype).T)
    return _flat(origin, axes.T)


def filter_normalised(model: FlatModel, origin: Tensor, *, seed: int) -> Surface:
    """A random plane whose directions have, filter by filter, the norm of the filter at ``origin``; biases stay put.

    A filter is the weights into one output unit or channel. Source: Li, Xu, Taylor, Studer, Goldstein 2018.
    """
    drawn = generator(seed, Purpose.PLANE).standard_normal((2, origin.numel()))
    directions = torch.as_tensor(drawn, dtype=origin.dtype)
    pieces, position = [], 0
    for shape in model.shapes.values():
        span = slice(position, position + shape.numel())
        pieces.append(_scaled(directions[:, span], origin[span], tuple(shape)))
        position += shape.numel()
    return _flat(origin, torch.cat(pieces, dim=1))


def _scaled(directions: Tensor, weights: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Directions ``(2, k)`` of one parameter, each filter scaled to the weights' norm, or 0 for a bias."""
    if len(shape) == 1:
        return torch.zeros_like(directions)
    filters, drawn = weights.view(shape[0], -1), directions.view(2, shape[0], -1)
    scale = filters.norm(dim=1) / drawn.norm(dim=2)
    return torch.mul(drawn, scale[..., None]).reshape(2, -1)


def curved(plane: Surface, checkpoints: Tensor) -> Surface:
    """The plane bent through its checkpoints ``(m, p)``: quadratic terms fitted to what they lie off it, least squares.

    The residuals are orthogonal to the axes, so coordinates stay what they were. Needs at least 4 checkpoints.
    """
    if len(checkpoints) < 4:
        raise InputError("checkpoints", len(checkpoints), "are too few to bend a plane", "keep at least 4")
    coordinates = plane.coordinates(checkpoints)
    off = torch.cat([rows - plane.points(plane.coordinates(rows)) for rows in _by_rows(checkpoints)])
    fitted = torch.linalg.lstsq(monomials(coordinates), off, driver="gelsd").solution
    return Surface(plane.origin, plane.axes, fitted, plane.explained)
