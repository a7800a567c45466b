"""Peak memory of the jobs that train networks, from their settings: no data, no weight is there yet.

Training and looking go in pieces of a fixed number of bytes (numerics.networks.pieces); what grows beyond them is the
data, the trunk of all seeds, and the path that a landscape is drawn around.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from numerics.networks.draws import BLOCK
from numerics.networks.flat import FlatModel
from numerics.networks.models import Architecture, build
from numerics.networks.pieces import LOOKING, Footprint, footprint, for_training

if TYPE_CHECKING:
    from numerics.networks.configurations import Configuration
    from numerics.networks.law_comparison import Case

NETWORKS_REMEDY = "lower --widths, --seeds, --decays or --n-train"
BENCH_REMEDY = "lower --jobs or --seeds"
LAW_REMEDY = "lower --widths, --n, --runs or --records"

#: bytes of a process that has loaded torch and everything that networks load, and holds no large array: measured
BASE = 600 * 2**20
#: of one process of `schedules-bench`, and of each paired seed that it trains at three learning rates: measured
_BENCH_BASE, _BENCH_SEED = 350 * 2**20, 7 * 2**20
#: shape of one example, examples in all, classes and bytes of a number of each source
_SOURCES = {
    "digits": ((1, 8, 8), 1797, 10, 8),
    "mnist1d": ((1, 40), 5000, 10, 8),
    "mnist": ((1, 28, 28), 70_000, 10, 4),
    "cifar10": ((3, 32, 32), 60_000, 10, 4),
    "cifar100": ((3, 32, 32), 60_000, 100, 4),
}
#: copies alive at the peak, measured (tests/sweep/test_network_memory.py holds them to it)
_COPIES_LOADING = 3.3  # of the training or held-out inputs, beside the files' whole content
_COPIES_TRUNK = 5.0  # of (trunk networks x p): theta and velocity as a checkpoint holds them, read and joined
_COPIES_PATH = 5.0  # of (checkpoints and ends of one network x p): as read, joined, less the mean, singular vectors
_COPIES_SURFACE = 24.0  # of p: a surface's six vectors, in both precisions, and what derivatives make of them
_COPIES_SHOWN = 4.0  # of LOOKING: the first layer's outputs at the six vectors, and a pass
_COPIES_JACOBIAN = 7.0  # of (outputs x p): A, the directions, their tangents and products
_COPIES_KERNEL = 12.0  # of (outputs x outputs)
_COPIES_RUNS = 5.5  # of (runs x p) that network-law trains at once, and saves nowhere
_COPIES_LOOKED_AT = 3.0  # of (runs x p), while the law is integrated beside them


def size_of(architecture: Architecture, inputs: tuple[int, ...]) -> Footprint:
    """Counted on torch's meta device, which allocates nothing. Raises InputError for a network that cannot be built."""
    with torch.device("meta"):
        return footprint(FlatModel(build(architecture, inputs)), inputs)


def networks(chosen: "Configuration", kinds: tuple[str, ...], *, law: bool, surfaces: bool) -> int:
    """Bytes of the process that runs `networks` with these kinds of noise, about; ``surfaces``: any landscape."""
    from numerics.networks.late_decay import KINDS

    shape, rows, classes, itemsize = _SOURCES[chosen.source]
    size = size_of(replace(chosen.architecture, outputs=1 if classes == 2 else classes), shape)
    full = [KINDS[kind][1] for kind in kinds if kind in KINDS]
    needs = max(_group(chosen, size, full.count(one), one) for one in set(full) or {False})
    jacobian = _law(chosen.n_train * size.outputs, size.parameters) if law else 0.0
    drawn = _landscape(chosen, size) if surfaces else 0.0
    kept = (chosen.n_train + chosen.n_test) * size.inputs * (itemsize if itemsize == 4 else itemsize + 4)
    loading = (rows * 4 + _COPIES_LOADING * max(chosen.n_train, chosen.n_test) * itemsize) * size.inputs
    return int(BASE + max(loading, kept + max(needs, jacobian, drawn)))


def _group(chosen: "Configuration", size: Footprint, kinds: int, full: bool) -> float:
    """Of training and looking at kinds that are trained together, on batches or on all examples."""
    number = 4  # bytes in float32
    trunk = kinds * chosen.seeds
    branches = (chosen.decays + 1) * trunk
    batch = chosen.n_train if full else min(chosen.batch, chosen.n_train)
    pieces = for_training(size, branches, batch, number)
    step = size.training(pieces.networks, pieces.examples, number)
    drawn = 0 if full else BLOCK * pieces.networks * batch  # indices and noise; while they are drawn the noise twice
    training = max(step + drawn * (8 + size.outputs * number), drawn * (8 + 2 * size.outputs * number))
    targets = pieces.networks * chosen.n_train * (8 + size.outputs * (8 + number))
    seen = min(size.looking(trunk, max(chosen.n_train, chosen.n_test), number), LOOKING)
    return max(training + targets, _COPIES_TRUNK * trunk * size.parameters * number + seen)


def _landscape(chosen: "Configuration", size: Footprint) -> float:
    """Of drawing surfaces around the path of one network and the ends of its branches."""
    plan = chosen.plan(kinds=("none",), full_batch=False, seed=0)
    points = len(plan.saved_steps) + len(plan.decay_steps)
    seen = min(size.looking(1, chosen.n_train, 4), LOOKING)
    return 4 * size.parameters * (_COPIES_PATH * points + _COPIES_SURFACE) + _COPIES_SHOWN * seen


def network_law(case: "Case", *, table: bool) -> int:
    """Bytes of the process that runs `network-law`, about, the cases of its table included."""
    from numerics.networks.law_breakdown import cases

    return int(BASE + max(_case(each) for each in ([case, *cases(case).values()] if table else [case])))


def _case(case: "Case") -> float:
    inputs, outputs = ((case.components,), 1) if case.classes == 2 else ((64,), 10)
    size = size_of(Architecture("mlp", case.widths, case.activation, outputs), inputs)
    runs = case.runs * (case.records + 1)
    weights = runs * size.parameters * 8
    jacobian = _law(case.n * outputs, size.parameters)
    return max(_COPIES_RUNS * weights, _COPIES_LOOKED_AT * weights + max(LOOKING, jacobian))


def schedules_bench(jobs: int, seeds: int) -> int:
    """Bytes of all processes of `schedules-bench`, about."""
    return jobs * (_BENCH_BASE + seeds * _BENCH_SEED) + (_BENCH_BASE if jobs > 1 else 0)


def _law(outputs: int, parameters: int) -> float:
    return 8.0 * (_COPIES_JACOBIAN * outputs * parameters + _COPIES_KERNEL * outputs**2)
