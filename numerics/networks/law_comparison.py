"""The slow law beside the SGD it predicts, on one interpolating network: paths, distances, late-decay curve, breakdown.

This is where law and simulator meet; neither imports the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from numerics.errors import InputError
from numerics.networks.curvature import sharpness
from numerics.networks.data import Array, Examples, digit_parity, load
from numerics.networks.flat import FlatModel
from numerics.networks.manifold import Point, project
from numerics.networks.measured import measure
from numerics.networks.models import Architecture, build
from numerics.networks.slow_law import Path, Setting, integrate
from numerics.networks.train import Program, Recipe, Replicas, State

Report = Callable[[str], None]
PRECISION = torch.float64


@dataclass(frozen=True)
class Case:
    """A network to interpolate and drift: data, layers, and the SGD around M.

    ``classes`` 2 is digit parity on ``components`` principal components (one output), 10 the digits themselves (ten
    outputs). ``stability`` is eta λ_max(H)/2 at the start, from which eta follows. ``gain`` scales the random weights.
    """

    n: int
    components: int
    classes: int
    widths: tuple[int, ...]
    activation: str
    gain: float
    stability: float
    batch: int
    sigma: float
    steps: int
    records: int
    runs: int
    seed: int
    tolerance: float

    def __post_init__(self) -> None:
        for name in ("n", "batch", "steps", "records", "runs", "stability", "sigma", "gain", "tolerance"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "is not positive", "give a positive number")
        if self.classes not in (2, 10):
            raise InputError("classes", self.classes, "is neither 2 (parity) nor 10 (digits)", "give one of them")
        if self.runs < 2:
            raise InputError("runs", self.runs, "leave no standard error", "simulate at least 2")


@dataclass(frozen=True)
class Bench:
    """A case with its data, network and starting point on M."""

    case: Case
    examples: Examples
    model: FlatModel

    @classmethod
    def of(cls, case: Case) -> "Bench":
        """Load the data and build the network."""
        if case.classes == 2:
            examples = digit_parity(n_train=case.n, components=case.components, seed=case.seed)
        else:
            examples = load("digits", n_train=case.n, n_test=1797, seed=case.seed)
        architecture = Architecture("mlp", case.widths, case.activation, 1 if case.classes == 2 else 10)
        return cls(case, examples, FlatModel(build(architecture, (prod(examples.shape),))))

    @cached_property
    def x(self) -> Tensor:
        """Training inputs ``(n, d)``."""
        return torch.as_tensor(self.examples.x, dtype=PRECISION).flatten(1)

    @cached_property
    def y(self) -> Tensor:
        """Training targets ``(n, C)``."""
        return torch.as_tensor(self.examples.targets(self.examples.labels), dtype=PRECISION)

    @cached_property
    def start(self) -> Point:
        """The random network of the seed, brought to M: f = y on all training examples."""
        initial = torch.as_tensor(self.model.initial(self.case.seed, gain=self.case.gain), dtype=PRECISION)
        return project(self.model, initial, self.x, self.y)

    @cached_property
    def eta(self) -> float:
        """The learning rate with eta λ_max(H)/2 = ``stability`` at the start."""
        return 2 * self.case.stability * self.case.n / float(torch.linalg.eigvalsh(self.start.k)[-1])

    @cached_property
    def setting(self) -> Setting:
        """What the law is integrated for."""
        return Setting(self.model, self.x, self.y, self.eta, self.case.batch, self.case.sigma)

    @cached_property
    def steps(self) -> Array:
        """Step counts ``(records + 1,)`` at which both sides are compared."""
        return np.unique(np.linspace(0, self.case.steps, self.case.records + 1).round())

    def test_loss(self, theta: Tensor) -> Array:
        """Held-out loss ``(m,)`` of weights ``(m, p)``."""
        y = self.examples.targets(self.examples.labels_test)
        return measure(self.model, theta, self.examples.x_test, y, loss="squared").loss

    def projected(self, theta: Tensor) -> Tensor:
        """Weights ``(m, p)`` brought back to M one by one."""
        return torch.stack([project(self.model, row, self.x, self.y).theta for row in theta])


@dataclass(frozen=True)
class Simulated:
    """SGD at the recorded steps ``(m,)``: weights on M ``(m, runs, p)``, tr H and test loss there ``(m, runs)``, and
    the mean noisy training loss since the record before minus the noise's own share, ``(m, runs)``.
    """

    theta: Tensor
    sharpness: Array
    test_loss: Array
    floor: Array


def program(bench: Bench, eta: float, *, copies: int, stream: int) -> Program:
    """Label-noise SGD at learning rate ``eta``: ``copies`` times the case's independent runs."""
    case = bench.case
    seeds = tuple(range(case.seed, case.seed + case.runs)) * copies
    replicas = Replicas(seeds, (eta,) * len(seeds), ("fresh",) * len(seeds), case.sigma, False)
    recipe = Recipe("squared", case.batch, False, 0.0, 0.0)
    return Program(bench.model, bench.examples, recipe, replicas, dtype=PRECISION, stream=stream)


def simulate(bench: Bench, report: Report) -> tuple[Simulated, list[State]]:
    """SGD from the start on M, looked at on M at every record; and its raw states there."""
    running = program(bench, bench.eta, copies=1, stream=0)
    theta = bench.start.theta.expand(bench.case.runs, -1).clone()
    states = [State(theta, torch.zeros_like(theta), 0)]
    floors = [np.full(bench.case.runs, np.nan)]
    noise = bench.case.sigma**2 * bench.y.shape[1] / 2
    for stop in bench.steps[1:]:
        state, losses = running.advance(states[-1], int(stop) - states[-1].step)
        states.append(state)
        floors.append(losses.mean(axis=0) - noise)
        report(f"SGD: step {stop:.0f} of {bench.case.steps}")
    on_m = torch.stack([bench.projected(state.theta) for state in states])
    traces = np.array([[float(sharpness(bench.model, row, bench.x)) for row in rows] for rows in on_m])
    tests = np.array([bench.test_loss(rows) for rows in on_m])
    return Simulated(on_m, traces, tests, np.array(floors)), states


@dataclass(frozen=True)
class Comparison:
    """Law and SGD at the same steps ``(m,)``. ``distance``: law's theta to the runs' mean, per path length;
    ``sampling``: the standard error of that mean, per path length: what a law without error would show.
    """

    steps: Array
    law: Path
    law_test_loss: Array
    simulated: Simulated
    distance: Array
    sampling: Array

    @property
    def trace_error(self) -> Array:
        """Relative error ``(m,)`` of the law's tr H against the runs' mean."""
        return np.asarray(self.law.sharpness / self.simulated.sharpness.mean(axis=1) - 1)

    @property
    def test_error(self) -> Array:
        """Relative error ``(m,)`` of the law's test loss against the runs' mean."""
        return np.asarray(self.law_test_loss / self.simulated.test_loss.mean(axis=1) - 1)


def compare(bench: Bench, report: Report) -> tuple[Comparison, list[State]]:
    """Predict, then simulate. Raises InputError above the stability limit, DivergedError if SGD diverges."""
    path = integrate(bench.setting, bench.start.theta, bench.steps, tolerance=bench.case.tolerance, report=report)
    simulated, states = simulate(bench, report)
    lengths = np.cumsum([0.0, *(float(step.norm()) for step in path.theta.diff(dim=0))])
    gaps = (simulated.theta.mean(dim=1) - path.theta).norm(dim=1).numpy()
    errors = (simulated.theta.var(dim=1).sum(dim=1) / bench.case.runs).sqrt().numpy()
    distance, sampling = (np.divide(g, lengths, out=np.zeros_like(g), where=lengths > 0) for g in (gaps, errors))
    return Comparison(bench.steps, path, bench.test_loss(path.theta), simulated, distance, sampling), states


@dataclass(frozen=True)
class DecayCurve:
    """Final test loss against decay step ``(k,)``: the law's ``(k,)`` and the branches' own ``(k, runs)``."""

    steps: Array
    predicted: Array
    simulated: Array


def late_decay(
    bench: Bench, comparison: Comparison, states: list[State], *, factor: float, branch_steps: int, report: Report
) -> DecayCurve:
    """Branches decayed by ``factor`` at every record, simulated; and what the law says, which trains none of them.

    The law: theta(k_d) on M, then the same law at the small learning rate for ``branch_steps``.
    """
    small = replace(bench.setting, eta=bench.eta / factor)
    span = np.array([0.0, float(branch_steps)])
    ends = [integrate(small, theta, span, tolerance=bench.case.tolerance).theta[-1] for theta in comparison.law.theta]
    report(f"late decay: {len(states)} x {bench.case.runs} branches of {branch_steps} steps")
    theta = torch.cat([state.theta for state in states])
    branching = program(bench, bench.eta / factor, copies=len(states), stream=1)
    final, _ = branching.advance(State(theta, torch.zeros_like(theta), 0), branch_steps)
    simulated = bench.test_loss(final.theta).reshape(len(states), bench.case.runs)
    return DecayCurve(comparison.steps, bench.test_loss(torch.stack(ends)), simulated)
