"""The loss on a surface as a smooth function of its two coordinates: exact derivatives, in double precision."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, hessian

from numerics.networks.data import Array
from numerics.networks.flat import FlatModel
from numerics.networks.losses import LOSSES
from numerics.networks.pieces import footprint, for_curvature, spans
from numerics.networks.planes import Surface

Derivative = Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class SmoothLoss:
    """Loss, slope ``(2,)`` and Hessian ``(2, 2)`` at coordinates ``(2,)``; a mean over x ``(n, ...)``, y ``(n, C)``.

    Blocks of examples, so that what derivatives keep of a pass fits.
    """

    model: FlatModel
    surface: Surface
    x: Tensor
    y: Tensor
    loss: str

    @classmethod
    def of(cls, model: FlatModel, surface: Surface, x: Tensor, y: Tensor, loss: str) -> "SmoothLoss":
        """The same in double precision, whatever the parts come in."""
        smooth = Surface(surface.origin.double(), surface.axes.double(), surface.bend.double(), surface.explained)
        return cls(model, smooth, x.double(), y.double(), loss)

    def value(self, at: Array) -> float:
        """The loss."""
        with torch.no_grad():
            return float(self._summed(lambda function: function, at))

    def slope(self, at: Array) -> Array:
        """Its gradient."""
        return np.asarray(self._summed(grad, at))

    def hessian(self, at: Array) -> Array:
        """Its second derivatives."""
        return np.asarray(self._summed(hessian, at))

    def _summed(self, derivative: Derivative, at: Array) -> Tensor:
        """A derivative of the loss: those of blocks of examples, each by its share."""
        block = for_curvature(footprint(self.model, self.x.shape[1:]), len(self.x))
        coordinates, parts = torch.as_tensor(at, dtype=torch.float64), []
        for rows in spans(len(self.x), block):
            share = len(self.x[rows]) / len(self.x)
            parts.append(share * derivative(self._of(rows))(coordinates))
        return torch.stack(parts).sum(dim=0)

    def _of(self, rows: slice) -> Callable[[Tensor], Tensor]:
        loss, x, y = LOSSES[self.loss], self.x[rows], self.y[rows]
        return lambda coordinates: loss(self.model(self.surface.points(coordinates[None])[0], x), y)
