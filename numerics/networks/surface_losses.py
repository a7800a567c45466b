"""Losses at many points of one surface, with the first layer's arithmetic shared by all of them.

On a surface theta = Σ_j m_j(a, b) basis_j with monomials m = (1, a, b, a², ab, b²). What a first linear or
convolutional layer puts out is linear in its weights, so its outputs are Σ_j m_j Z_j with Z_j computed once: six
numbers per unit replace a whole matrix product. The other layers run as one batched pass; dense ones as plain batched
matrix products, units by examples, with all that follows a product in place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from numerics.networks.flat import FlatModel
from numerics.networks.losses import LOSSES
from numerics.networks.pieces import footprint, for_looking, spans
from numerics.networks.planes import Surface, monomials

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d)
#: activations per layer and pass, and examples per pass, at most: what keeps a pass inside the caches of one core
_BUDGET = 2**18
_EXAMPLES = 256


def _tanh(h: Tensor) -> Tensor:
    """2 sigmoid(2h) − 1, in place: the same function, and torch's sigmoid is vectorised where its tanh is not."""
    return h.mul_(2).sigmoid_().mul_(2).sub_(1)


#: elementwise layers as they are computed here: in place where torch can
_ELEMENTWISE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: _tanh,
    nn.ReLU: torch.relu_,
    nn.GELU: functional.gelu,
}


@dataclass(frozen=True)
class SurfaceLosses:
    """The loss of one data set at coordinates of a surface; ``x (n, ...)``, ``y (n, C)``; a mean over examples."""

    model: FlatModel
    surface: Surface
    x: Tensor
    y: Tensor
    loss: str

    @cached_property
    def _split(self) -> tuple[FlatModel, FlatModel] | None:
        """First linear layer and the rest, where the network is such a sequence."""
        if not isinstance(self.model.module, nn.Sequential):
            return None
        layers = list(self.model.module)
        place = next(k for k, layer in enumerate(layers) if isinstance(layer, _LINEAR))
        if any(list(layer.parameters()) for layer in layers[:place]) or place + 1 == len(layers):
            return None
        return FlatModel(nn.Sequential(*layers[: place + 1])), FlatModel(nn.Sequential(*layers[place + 1 :]))

    @cached_property
    def _first(self) -> Tensor:
        """Z ``(6, n, ...)``: the first layer's outputs at each basis vector; ``(6, k, n)`` where the rest is dense."""
        assert self._split is not None
        head = self._split[0]
        outputs: Tensor = vmap(head, in_dims=(0, None))(self.surface.basis[:, : head.size], self.x)
        return outputs.transpose(1, 2).contiguous() if self._rest_is_dense else outputs

    @cached_property
    def _rest_is_dense(self) -> bool:
        """Whether only linear and elementwise layers follow a first linear one."""
        assert self._split is not None
        head, tail = self._split
        last, *_ = reversed(list(head.module.children()))
        return all(isinstance(layer, (nn.Linear, *_ELEMENTWISE)) for layer in (last, *tail.module.children()))

    def _pass(self, coordinates: Tensor) -> Tensor:
        """Losses ``(m,)`` at coordinates ``(m, 2)`` in one pass."""
        combined = torch.cat([torch.ones_like(coordinates[:, :1]), coordinates, monomials(coordinates)], dim=1)
        loss = LOSSES[self.loss]
        if self._split is None:
            points: Tensor = vmap(lambda theta: loss(self.model(theta, self.x), self.y))(combined @ self.surface.basis)
            return points
        head, tail = self._split
        inputs = (combined @ self._first.flatten(1)).view(len(coordinates), *self._first.shape[1:])
        weights = combined @ self.surface.basis[:, head.size :]
        if self._rest_is_dense:
            return loss(_dense(tail, weights, inputs).transpose(1, 2), self.y)
        losses: Tensor = vmap(lambda theta, x: loss(tail(theta, x), self.y))(weights, inputs)
        return losses

    def _blocks(self) -> "Iterator[SurfaceLosses]":
        """The same loss over blocks of examples; what one computes once for all points goes when it is done."""
        found = footprint(self.model, self.x.shape[1:])
        size = min(_EXAMPLES, for_looking(found, 1, len(self.x), self.x.element_size()).examples)
        for rows in spans(len(self.x), size):
            yield SurfaceLosses(self.model, self.surface, self.x[rows], self.y[rows], self.loss)

    def _of_block(self, coordinates: Tensor) -> Tensor:
        per_point = len(self.x) if self._split is None else self._first[0].numel()
        return torch.cat([self._pass(part) for part in torch.split(coordinates, max(1, _BUDGET // per_point))])

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Losses ``(m,)`` at coordinates ``(m, 2)``."""
        with torch.no_grad():
            shares = [len(block.x) / len(self.x) * block._of_block(coordinates) for block in self._blocks()]
        return torch.stack(shares).sum(dim=0)


def _dense(tail: FlatModel, weights: Tensor, h: Tensor) -> Tensor:
    """Outputs ``(m, C, n)`` of linear and elementwise layers at weights ``(m, p)`` and inputs ``(m, k, n)``; h is lost.

    Units by examples: every product is then one of contiguous matrices, and what follows it runs in place.
    """
    position = 0
    for layer in tail.module.children():
        if not isinstance(layer, nn.Linear):
            h = _ELEMENTWISE[type(layer)](h)
            continue
        middle = position + layer.in_features * layer.out_features
        matrix = weights[:, position:middle].view(-1, layer.out_features, layer.in_features)
        position = middle + layer.out_features
        h = torch.bmm(matrix, h).add_(weights[:, middle:position, None])
    return h
