"""Named experiments. A configuration says everything a late-decay run needs; the command line changes single fields."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from numerics.errors import InputError
from numerics.networks import data
from numerics.networks.data import Examples
from numerics.networks.flat import FlatModel
from numerics.networks.models import VGG11, VGG_SMALL, Architecture, build
from numerics.networks.plan import Plan
from numerics.networks.train import Recipe


@dataclass(frozen=True)
class Configuration:
    """Data, network and training of one late-decay experiment; ``origin`` says where its numbers come from.

    ``first_decay``/``last_decay``/``decays``: the decay steps, geometric between the two, plus step 0. ``noise`` is the
    deviation of Gaussian noise on the targets, or the flip probability with ``flip``. ``kinds`` are those of
    late_decay.KINDS that it trains unless others are asked for; every ``save_every`` steps leave a resume point.
    """

    name: str
    origin: str
    source: str
    n_train: int
    n_test: int
    architecture: Architecture
    loss: str
    batch: int
    epochs: bool
    eta: float
    momentum: float
    weight_decay: float
    noise: float
    flip: bool
    gain: float
    first_decay: int
    last_decay: int
    decays: int
    factor: float
    branch_steps: int
    seeds: int
    kinds: tuple[str, ...]
    save_every: int

    def examples(self, *, seed: int, folder: Path | None) -> Examples:
        """The data, split by ``seed``."""
        return data.load(self.source, n_train=self.n_train, n_test=self.n_test, seed=seed, folder=folder)

    def model(self, examples: Examples) -> FlatModel:
        """The network for these examples, its outputs matched to their classes."""
        outputs = 1 if examples.classes == 2 else examples.classes
        return FlatModel(build(replace(self.architecture, outputs=outputs), examples.shape))

    def decay_steps(self) -> tuple[int, ...]:
        """0 and ``decays`` steps from first to last, equally spaced in the logarithm."""
        if not (0 < self.first_decay < self.last_decay and self.decays > 1):
            rule = f"and {self.last_decay} leave no {self.decays} steps between them"
            raise InputError("first decay step", self.first_decay, rule, "give 0 < first < last and 2 or more decays")
        spaced = np.geomspace(self.first_decay, self.last_decay, self.decays)
        return (0, *(int(step) for step in np.unique(spaced.round())))

    def plan(self, *, kinds: tuple[str, ...], full_batch: bool, seed: int) -> Plan:
        """The trunk and branches for label-noise ``kinds`` of train.NOISES."""
        steps = self.decay_steps()
        path = np.unique(np.r_[0, np.geomspace(10, self.last_decay, 30).round()]).astype(int)
        return Plan(
            recipe=Recipe(self.loss, None if full_batch else self.batch, self.epochs, self.momentum, self.weight_decay),
            seeds=tuple(range(seed, seed + self.seeds)),
            kinds=kinds,
            eta=self.eta,
            noise=self.noise,
            flip=self.flip,
            gain=self.gain,
            decay_steps=steps,
            path_steps=tuple(int(step) for step in path),
            factor=self.factor,
            branch_steps=self.branch_steps,
            keep_momentum=True,
            precision="float32",
            save_every=self.save_every,
        )


_DIGITS = Configuration(
    name="digits",
    origin="ours: the default, within the law's conditions; minutes on two cores",
    source="digits",
    n_train=40,
    n_test=1757,
    architecture=Architecture("mlp", (64,), "tanh", 10),
    loss="squared",
    batch=10,
    epochs=False,
    eta=0.05,
    momentum=0.0,
    weight_decay=0.0,
    noise=0.1,
    flip=False,
    gain=1.0,
    first_decay=400,
    last_decay=60_000,
    decays=8,
    factor=10.0,
    branch_steps=6000,
    seeds=6,
    kinds=("fresh", "minibatch", "static", "none"),
    save_every=2000,
)

_RELU = replace(
    _DIGITS,
    name="digits-relu",
    origin="ours: ReLU, momentum and more examples than the law covers",
    n_train=200,
    n_test=1597,
    architecture=Architecture("mlp", (64, 64), "relu", 10),
    batch=25,
    eta=0.01,
    momentum=0.9,
    noise=0.3,
    gain=1.2,
    first_decay=250,
    last_decay=30_000,
    factor=20.0,
    branch_steps=2000,
)

_PAPER_SMALL = replace(
    _RELU,
    name="cifar10-small",
    origin="the published code's small-data variant: 500 images per class, batch 125, MSE; branch times are ours; "
    "36 hours of a core, 10 GiB",
    source="cifar10",
    n_train=5000,
    n_test=10_000,
    architecture=Architecture("vgg", VGG11, "relu", 10),
    loss="mse",
    batch=125,
    epochs=True,
    eta=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    noise=0.0,
    gain=float(1 / np.sqrt(3)),  # of torch's own layers; at √2 the learning rate .1 diverges within 3 steps
    first_decay=40 * 10,
    last_decay=40 * 200,
    decays=8,
    factor=10.0,
    branch_steps=40 * 50,
    seeds=2,
    kinds=("minibatch",),  # without label noise the others are the same run, or full batches: months
    save_every=100,
)

CONFIGURATIONS = {
    entry.name: entry
    for entry in (
        _DIGITS,
        _RELU,
        replace(
            _RELU,
            name="digits-cnn",
            origin="ours: a small CNN on the same digits",
            architecture=Architecture("cnn", (8, 16), "relu", 10),
            gain=float(np.sqrt(2)),
            first_decay=500,
            last_decay=10_000,
            eta=0.005,
            seeds=2,
        ),
        replace(
            _RELU,
            name="digits-flips",
            origin="ours: cross-entropy with labels flipped afresh",
            loss="cross-entropy",
            noise=0.2,
            flip=True,
            eta=0.02,
        ),
        replace(
            _DIGITS,
            name="mnist1d",
            origin="ours: signals from mnist1d's generator",
            source="mnist1d",
            n_test=2000,
            eta=0.08,
        ),
        replace(
            _DIGITS,
            name="mnist",
            origin="ours: the default on MNIST from the user's files",
            source="mnist",
            n_test=2000,
            eta=0.008,
            noise=0.3,
            first_decay=150,
            last_decay=20_000,
            branch_steps=1500,
            seeds=4,
        ),
        replace(
            _RELU,
            name="mnist-vgg",
            origin="ours: a small VGG on MNIST from the user's files",
            source="mnist",
            architecture=Architecture("vgg", VGG_SMALL, "relu", 10),
            eta=0.002,
            first_decay=100,
            last_decay=2000,
            branch_steps=500,
            seeds=2,
            n_test=1000,
        ),
        replace(
            _PAPER_SMALL,
            name="cifar10",
            origin="the paper: VGG-11 on CIFAR-10, main and subpaths; branch times are ours; 11 days of a core, 10 GiB",
            n_train=50_000,
            batch=125,
            loss="cross-entropy",
            first_decay=400 * 5,
            last_decay=400 * 200,
            branch_steps=400 * 30,
        ),
        _PAPER_SMALL,
        replace(_PAPER_SMALL, name="cifar100-small", origin="as cifar10-small, on CIFAR-100", source="cifar100"),
    )
}


def named(name: str) -> Configuration:
    """The configuration called ``name``. Raises InputError with the list of names."""
    if name not in CONFIGURATIONS:
        raise InputError("configuration", name, "is not known", f"choose one of {', '.join(CONFIGURATIONS)}")
    return CONFIGURATIONS[name]


def made_small(chosen: Configuration) -> Configuration:
    """The same experiment in under a minute on two cores; enough to see that everything runs, too short to judge by.

    2 seeds, a tenth of the steps, fewer decays and held-out examples; convolutional networks at most 16 channels wide,
    on at most 40 examples and for at most 200 steps.
    """
    convolutional = chosen.architecture.kind != "mlp"
    n_train = min(chosen.n_train, 40) if convolutional else chosen.n_train
    last = min(max(chosen.last_decay // 10, 100), 200 if convolutional else 6000)
    return replace(
        chosen,
        architecture=_narrow(chosen.architecture) if convolutional else chosen.architecture,
        seeds=2,
        n_train=n_train,
        n_test=min(chosen.n_test, 200 if convolutional else 500),
        batch=min(chosen.batch, max(n_train // 4, 1)),
        first_decay=max(chosen.first_decay * last // chosen.last_decay, 10),
        last_decay=last,
        branch_steps=min(max(chosen.branch_steps // 10, 10), last),
        decays=min(chosen.decays, 4),
    )


def _narrow(architecture: Architecture) -> Architecture:
    """All widths divided by the number that brings the widest to 16; pooling layers stay."""
    factor = max(1, max(architecture.widths) // 16)
    return replace(architecture, widths=tuple(width // factor for width in architecture.widths))
