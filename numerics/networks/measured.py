"""Loss and accuracy of many networks on many examples, in pieces whose activations fit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from numerics.networks.data import Array
from numerics.networks.flat import FlatModel
from numerics.networks.losses import LOSSES, accuracy
from numerics.networks.pieces import footprint, for_looking, spans


@dataclass(frozen=True)
class Measured:
    """Loss and accuracy ``(R,)`` of a stack of networks on clean examples."""

    loss: Array
    accuracy: Array


def measure(model: FlatModel, theta: Tensor, x: Array | Tensor, y: Array | Tensor, *, loss: str) -> Measured:
    """Loss and accuracy of each network of ``theta (R, p)`` on x ``(n, ...)``, y ``(n, C)``: means over the examples.

    Groups of networks by blocks of examples; how they are cut changes the means by rounding alone.
    """
    inputs, targets = torch.as_tensor(x, dtype=theta.dtype), torch.as_tensor(y, dtype=theta.dtype)
    pieces = for_looking(footprint(model, inputs.shape[1:]), len(theta), len(inputs), theta.element_size())

    def one(weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = model(weights, inputs)
        return torch.stack([LOSSES[loss](outputs, targets), accuracy(outputs, targets)])

    batched: Callable[[Tensor, Tensor, Tensor], Tensor] = vmap(one, in_dims=(0, None, None))
    found = torch.zeros(len(theta), 2, dtype=torch.float64)
    with torch.no_grad():
        for networks in spans(len(theta), pieces.networks):
            for rows in spans(len(inputs), pieces.examples):
                share = len(inputs[rows]) / len(inputs)
                found[networks] += share * batched(theta[networks], inputs[rows], targets[rows])
    return Measured(found[:, 0].numpy(), found[:, 1].numpy())
