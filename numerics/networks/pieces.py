"""Work on networks in pieces that a fixed number of bytes bounds: groups of networks, blocks of examples.

The bound is fixed and not what the machine has free: torch's sums depend in their last bits on the shapes it is given,
so the same settings must lead to the same pieces everywhere. Random numbers are addressed by seed and step, so pieces
change results by rounding alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

import torch
from torch.func import functional_call

from numerics.networks.flat import FlatModel

#: bytes of weights, activations and slopes that one piece of training may have, and of activations that are looked at
TRAINING = 2**30
LOOKING = 2**26
#: copies alive at the peak, measured (tests/sweep/test_network_memory.py holds the predictions made of them to it)
COPIES_WEIGHTS = 9.0  # of (networks x p): state before and after, velocity, gradient, temporaries, the checkpoint
COPIES_ACTIVATIONS = 4.0  # of (networks x examples x units): outputs around each nonlinearity, and slopes
COPIES_LOOKED_AT = 1.2  # of (networks x examples x the widest two layers)


@dataclass(frozen=True)
class Footprint:
    """Parameters, numbers that all layers put out for one example, the most that two in a row do, inputs, outputs."""

    parameters: int
    units: int
    widest: int
    inputs: int
    outputs: int

    def of_example(self, itemsize: int) -> float:
        """Bytes that a training step keeps of one example of one network."""
        return itemsize * (COPIES_ACTIVATIONS * self.units + self.inputs)

    def training(self, networks: int, examples: int, itemsize: int) -> float:
        """Bytes of one training step of ``networks`` on ``examples`` each, at once."""
        return networks * (itemsize * COPIES_WEIGHTS * self.parameters + examples * self.of_example(itemsize))

    def looking(self, networks: int, examples: int, itemsize: int) -> float:
        """Bytes of the activations of ``networks`` on ``examples``, no gradient taken, at once."""
        return itemsize * networks * examples * (COPIES_LOOKED_AT * self.widest + self.inputs)


@dataclass(frozen=True)
class Pieces:
    """At most ``networks`` at a time, on at most ``examples`` at a time."""

    networks: int
    examples: int


def footprint(model: FlatModel, inputs: tuple[int, ...]) -> Footprint:
    """Counted on torch's meta device, which allocates nothing, for examples of shape ``inputs``."""
    return _footprint(model.module, tuple(inputs))


@lru_cache(maxsize=8)
def _footprint(module: torch.nn.Module, inputs: tuple[int, ...]) -> Footprint:
    units: list[int] = []
    layers = [layer for layer in module.modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(lambda _layer, _given, found: units.append(found.numel())) for layer in layers]
    try:
        named = {name: torch.empty_like(tensor, device="meta") for name, tensor in module.state_dict().items()}
        outputs = functional_call(module, named, (torch.empty(1, *inputs, device="meta"),))
    finally:
        for hook in hooks:
            hook.remove()
    widest = max(map(sum, pairwise([0, *units])))
    return Footprint(FlatModel(module).size, sum(units), widest, prod(inputs), outputs.shape[-1])


def for_training(found: Footprint, networks: int, examples: int, itemsize: int) -> Pieces:
    """Pieces of ``networks`` that train on batches of ``examples``: whole batches first, one network at least."""
    block = _at_most(TRAINING / found.of_example(itemsize), examples)
    return Pieces(_at_most(TRAINING / found.training(1, block, itemsize), networks), block)


def for_curvature(found: Footprint, examples: int) -> int:
    """Examples at a time of a Hessian in two directions: the pass and its two tangents, in double precision."""
    return _at_most(TRAINING / (3 * found.of_example(8)), examples)


def for_looking(found: Footprint, networks: int, examples: int, itemsize: int) -> Pieces:
    """Pieces of ``networks`` looked at on ``examples``: all examples of a network first."""
    block = _at_most(LOOKING / found.looking(1, 1, itemsize), examples)
    return Pieces(_at_most(LOOKING / found.looking(1, block, itemsize), networks), block)


def _at_most(fitting: float, there: int) -> int:
    return max(1, min(int(fitting), there))


def spans(total: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` that cover ``range(total)``, the last one shorter."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def within(rows: slice, span: slice) -> slice:
    """Those of ``rows`` that lie in ``span``, counted from its start; it stops before it starts where none do."""
    return slice(max(rows.start - span.start, 0), min(rows.stop, span.stop) - span.start)
