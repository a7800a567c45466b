"""Stacks of small networks as batched matrix products: the benchmark's forward pass, R networks per call.

Faster here than `torch.func.vmap`: convolutions are products with unfolded windows, and the gradient of the sum of the
R losses is the stack of the R gradients.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.networks.draws import Purpose, generator

Array = NDArray[np.float64]
_WINDOW = 3


@dataclass(frozen=True)
class StackedNetwork:
    """Hidden ``widths`` on inputs of a shape: dense layers, or convolutions of width 3 with max-pooling and a dense
    end.

    ``theta (R, p)`` holds, layer by layer, weights (out, in) and biases (out), as `torch.nn.Linear` does.
    """

    inputs: tuple[int, ...]
    widths: tuple[int, ...]
    outputs: int
    activation: str
    convolutional: bool

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(out, in) of every layer."""
        if not self.convolutional:
            sizes = (prod(self.inputs), *self.widths, self.outputs)
            return [(after, before) for before, after in pairwise(sizes)]
        sides, channels, found = self.inputs[1:], self.inputs[0], []
        for width in self.widths:
            found.append((width, channels * _WINDOW ** len(sides)))
            channels, sides = width, tuple(side // 2 for side in sides)
        return [*found, (self.outputs, channels * prod(sides))]

    @property
    def size(self) -> int:
        """p."""
        return sum(out * into + out for out, into in self.layers)

    def initial(self, seed: int, gain: float) -> Array:
        """theta ``(p,)``: weights N(0, gain^2/fan_in), biases 0, as `FlatModel.initial` draws them."""
        source, parts = generator(seed, Purpose.INITIAL), []
        for out, into in self.layers:
            parts += [source.standard_normal(out * into) * gain / np.sqrt(into), np.zeros(out)]
        return np.concatenate(parts)

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Outputs ``(R, b, C)`` of x ``(R, b, ...)``."""
        act = torch.relu if self.activation == "relu" else torch.tanh
        sizes = [size for out, into in self.layers for size in (out * into, out)]
        parts = torch.split(theta, sizes, dim=1)
        for k, (out, into) in enumerate(self.layers):
            weight, bias = parts[2 * k].view(-1, out, into), parts[2 * k + 1][:, None]
            last = k == len(self.layers) - 1
            if self.convolutional and not last:
                x = _pooled(act(_convolved(x, weight, bias)))
            else:
                x = torch.baddbmm(bias, x.flatten(2), weight.transpose(1, 2))
                x = x if last else act(x)
        return x


def _convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution of width 3, zero-padded: x ``(R, b, channels, *sides)`` to ``(R, b, out, *sides)``."""
    sides = x.shape[3:]
    x = torch.nn.functional.pad(x, (1, 1) * len(sides))
    for axis in range(len(sides)):
        x = x.unfold(3 + axis, _WINDOW, 1)
    order = (0, 1, *range(3, 3 + len(sides)), 2, *range(3 + len(sides), x.dim()))
    windows = x.permute(order).reshape(x.shape[0], -1, weight.shape[2])
    y = torch.baddbmm(bias, windows, weight.transpose(1, 2))
    return y.view(x.shape[0], x.shape[1], *sides, -1).movedim(-1, 2)


def _pooled(x: Tensor) -> Tensor:
    """Max-pooling by 2 along every side."""
    for axis in range(3, x.dim()):
        half = x.shape[axis] // 2
        x = x.narrow(axis, 0, 2 * half)
        x = x.reshape(*x.shape[:axis], half, 2, *x.shape[axis + 1 :]).amax(axis + 1)
    return x
