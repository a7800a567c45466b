"""A torch module as a function of one flat parameter vector."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from numerics.networks.draws import Purpose, generator


@dataclass(frozen=True)
class FlatModel:
    """``f(theta, x)``: theta ``(p,)``, x ``(n, ...)``, outputs ``(n, C)``; the module's own weights are ignored."""

    module: nn.Module

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Name and shape of each parameter, in the order in which theta holds them."""
        return {name: tensor.shape for name, tensor in self.module.named_parameters()}

    @property
    def size(self) -> int:
        """p, the number of trainable parameters."""
        return sum(shape.numel() for shape in self.shapes.values())

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Outputs ``(n, C)`` of the inputs x ``(n, ...)`` at theta ``(p,)``."""
        shapes = self.shapes
        pieces = torch.split(theta, [shape.numel() for shape in shapes.values()])
        named = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        outputs: Tensor = functional_call(self.module, named, (x,))
        return outputs

    def own_parameters(self) -> Tensor:
        """theta ``(p,)`` made of the module's own weights."""
        return torch.cat([tensor.detach().reshape(-1) for tensor in self.module.parameters()])

    def initial(self, seed: int, *, gain: float) -> NDArray[np.float64]:
        """theta ``(p,)`` at the start: weights N(0, gain²/fan_in), biases 0, drawn from ``seed`` alone."""
        source = generator(seed, Purpose.INITIAL)
        return np.concatenate([_weights(source, tuple(shape), gain) for shape in self.shapes.values()])


def _weights(source: np.random.Generator, shape: tuple[int, ...], gain: float) -> NDArray[np.float64]:
    if len(shape) == 1:
        return np.zeros(shape)
    return np.asarray(source.standard_normal(int(np.prod(shape))) * gain / np.sqrt(np.prod(shape[1:])))
