"""Peak memory of the jobs that train networks, from their settings: no data, no weight is there yet."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import torch

from numerics.networks.draws import BLOCK
from numerics.networks.flat import FlatModel
from numerics.networks.models import Architecture, build

if TYPE_CHECKING:
    from numerics.networks.configurations import Configuration
    from numerics.networks.law_comparison import Case

NETWORKS_REMEDY = "lower --widths, --seeds, --decays, --batch or --n-train, or leave none (full batches) out of --kinds"
BENCH_REMEDY = "lower --jobs or --seeds"
LAW_REMEDY = "lower --widths, --n, --runs or --records"

#: bytes of a process that has loaded torch and everything that networks load, and holds no large array: measured
BASE = 600 * 2**20
#: of one process of `schedules-bench`, and of each paired seed that it trains at three learning rates: measured
_BENCH_BASE, _BENCH_SEED = 350 * 2**20, 7 * 2**20
#: shape of one example, examples in all, and classes of each source
_SOURCES = {
    "digits": ((1, 8, 8), 1797, 10),
    "mnist1d": ((1, 40), 5000, 10),
    "mnist": ((1, 28, 28), 70_000, 10),
    "cifar10": ((3, 32, 32), 60_000, 10),
    "cifar100": ((3, 32, 32), 60_000, 100),
}
#: copies alive at the peak, measured (tests/sweep/test_network_memory.py holds them to it)
_COPIES_WEIGHTS = 9.0  # of (branches x p): state before and after, velocity, gradient, temporaries, the checkpoint
_COPIES_ACTIVATIONS = 4.0  # of (branches x batch x units): outputs before and after each nonlinearity, and slopes
_COPIES_JACOBIAN = 7.0  # of (outputs x p): A, the directions, their tangents and products
_COPIES_KERNEL = 12.0  # of (outputs x outputs)
_COPIES_LOOKED_AT = 3.0  # of the same, while test losses are computed or the law is integrated
_COPIES_HELD_OUT = 1.2  # of (networks looked at x held-out examples x the widest two layers)
_MEASURED = 32  # networks at a time that are looked at on held-out examples
_PATH_STEPS = 40  # checkpoints along a trunk


@dataclass(frozen=True)
class Size:
    """Parameters, numbers that all layers put out for one example, the most that two in a row do, inputs, outputs."""

    parameters: int
    units: int
    widest: int
    inputs: int
    outputs: int


def size_of(architecture: Architecture, inputs: tuple[int, ...]) -> Size:
    """Counted on torch's meta device, which allocates nothing. Raises InputError for a network that cannot be built."""
    units: list[int] = []
    with torch.device("meta"):
        module = build(architecture, inputs)
        for layer in module.children():
            layer.register_forward_hook(lambda _layer, _given, found: units.append(found.numel()))
        module(torch.empty(1, *inputs))
    widest = max(map(sum, pairwise(units)))
    return Size(FlatModel(module).size, sum(units), widest, prod(inputs), architecture.outputs)


def networks(chosen: "Configuration", kinds: tuple[str, ...], *, law: bool) -> int:
    """Bytes of the process that runs `networks` with these kinds of noise, about."""
    from numerics.networks.late_decay import KINDS

    full = [KINDS[kind][1] for kind in kinds if kind in KINDS]
    return max(_group(chosen, full.count(one), one, law=law) for one in (False, True))


def _group(chosen: "Configuration", kinds: int, full: bool, *, law: bool) -> int:
    """Of the kinds that are trained together, on batches or on all examples."""
    shape, rows, classes = _SOURCES[chosen.source]
    size = size_of(replace(chosen.architecture, outputs=1 if classes == 2 else classes), shape)
    number = 4  # bytes in float32
    branches = (chosen.decays + 1) * kinds * chosen.seeds
    batch = chosen.n_train if full else min(chosen.batch, chosen.n_train)
    weights = branches * size.parameters * number
    step = branches * batch * (_COPIES_ACTIVATIONS * size.units + size.inputs) * number
    draws = 0 if full else BLOCK * branches * batch * (8 + 2 * size.outputs * number)
    targets = branches * chosen.n_train * (8 + size.outputs * (8 + number))
    held_out = min(branches, _MEASURED) * chosen.n_test * _COPIES_HELD_OUT * size.widest * number
    path = 4 * _PATH_STEPS * size.parameters * number
    data = (rows * 4 + 2 * 8 * (chosen.n_train + chosen.n_test)) * size.inputs
    jacobian = _law(chosen.n_train * size.outputs, size.parameters) if law else 0.0
    training, looking = _COPIES_WEIGHTS * weights + step + draws, _COPIES_LOOKED_AT * weights + held_out + path
    return int(BASE + data + targets + max(training, looking, jacobian))


def network_law(case: "Case", *, table: bool) -> int:
    """Bytes of the process that runs `network-law`, about, the cases of its table included."""
    from numerics.networks.law_breakdown import cases

    return int(BASE + max(_case(each) for each in ([case, *cases(case).values()] if table else [case])))


def _case(case: "Case") -> float:
    inputs, outputs = ((case.components,), 1) if case.classes == 2 else ((64,), 10)
    size = size_of(Architecture("mlp", case.widths, case.activation, outputs), inputs)
    runs = case.runs * (case.records + 1)
    weights = runs * size.parameters * 8
    held_out = min(runs, _MEASURED) * 1797 * _COPIES_HELD_OUT * size.widest * 8
    jacobian = _law(case.n * outputs, size.parameters)
    return max(_COPIES_WEIGHTS * weights, _COPIES_LOOKED_AT * weights + max(held_out, jacobian))


def schedules_bench(jobs: int, seeds: int) -> int:
    """Bytes of all processes of `schedules-bench`, about."""
    return jobs * (_BENCH_BASE + seeds * _BENCH_SEED) + (_BENCH_BASE if jobs > 1 else 0)


def _law(outputs: int, parameters: int) -> float:
    return 8.0 * (_COPIES_JACOBIAN * outputs * parameters + _COPIES_KERNEL * outputs**2)
