"""The late-decay experiment from end to end: train or resume, measure, judge."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.networks.benefit import benefit, saturation
from numerics.networks.branches import Report, Run, clean_measures
from numerics.networks.configurations import Configuration
from numerics.networks.data import Array, Examples
from numerics.networks.late_decay_figure import LateDecay, Trunk

#: what each kind is called outside, its label noise, and whether it trains on the full batch
KINDS = {
    "fresh": ("fresh", False),
    "minibatch": ("none", False),
    "static": ("static", False),
    "none": ("none", True),
}
#: level of the test that looks for what is left to fit in the noisy trunk's training loss
SATURATION_LEVEL = 0.05


@dataclass(frozen=True)
class Experiment:
    """One configuration, its data and the runs (minibatch, full batch) that hold its kinds of noise."""

    configuration: Configuration
    examples: Examples
    runs: tuple[Run, ...]
    kinds: tuple[tuple[str, ...], ...]

    def find(self, kind: str) -> tuple[Run, int]:
        """The run that holds ``kind``, and its place there."""
        for run, names in zip(self.runs, self.kinds, strict=True):
            if kind in names:
                return run, names.index(kind)
        raise InputError("kind", kind, "was not trained", "name it in --kinds")

    @property
    def names(self) -> tuple[str, ...]:
        """All kinds, in the order of KINDS."""
        return tuple(kind for kind in KINDS if any(kind in names for names in self.kinds))


def prepare(
    configuration: Configuration,
    kinds: tuple[str, ...],
    *,
    out: Path,
    seed: int,
    data_folder: Path | None,
    keep_momentum: bool,
    report: Report,
) -> Experiment:
    """The runs of an experiment in ``out/state``, not yet trained. Raises InputError for bad settings."""
    if configuration.seeds < 2:
        raise InputError("seeds", configuration.seeds, "leave no standard error", "use at least 2")
    for kind in kinds:
        if kind not in KINDS:
            raise InputError("kind", kind, "is not known", f"choose among {', '.join(KINDS)}")
        if KINDS[kind][0] != "none" and configuration.noise == 0:
            raise InputError("noise", 0, f"makes {kind} the same as minibatch", "pass --noise or other --kinds")
    examples = configuration.examples(seed=seed, folder=data_folder)
    model = configuration.model(examples)
    groups = [(full, tuple(k for k in KINDS if k in kinds and KINDS[k][1] == full)) for full in (False, True)]
    runs = []
    for full, names in groups:
        if not names:
            continue
        noises = tuple(KINDS[name][0] for name in names)
        plan = configuration.plan(kinds=noises, full_batch=full, seed=seed)
        plan = replace(plan, keep_momentum=keep_momentum)
        folder = out / "state" / ("full-batch" if full else "minibatch")
        folder.mkdir(parents=True, exist_ok=True)
        runs.append(Run(plan, model, examples, folder, report))
    return Experiment(configuration, examples, tuple(runs), tuple(names for _, names in groups if names))


def plan_lines(experiment: Experiment) -> list[str]:
    """What will be trained, as text."""
    lines = []
    for run, names in zip(experiment.runs, experiment.kinds, strict=True):
        plan = run.plan
        trunk, branches = len(plan.replicas.seeds), len(plan.branches.seeds)
        batch = f"batches of {plan.recipe.batch}" if plan.recipe.batch else f"all {len(run.examples.x)} examples a step"
        lines.append(
            f"plan: {', '.join(names)}: {trunk} networks of {run.model.size} parameters for {plan.saved_steps[-1]} "
            f"steps, {branches} branches of {plan.branch_steps} steps: {plan.work} steps of one network, {batch}, "
            f"{run.at_once} at a time"
        )
    return lines


def train(experiment: Experiment) -> None:
    """Train, or finish training, trunk and branches of every run."""
    for run in experiment.runs:
        run.trunk()
        run.branches()


def measure(experiment: Experiment) -> LateDecay:
    """Everything the figure and the summary need, from the checkpoints."""
    steps = np.array(experiment.configuration.decay_steps())
    trunks, final, accuracies, at_decay = {}, {}, {}, {}
    for run, names in zip(experiment.runs, experiment.kinds, strict=True):
        loss, share = _ends(run)
        for place, name in enumerate(names):
            final[name], accuracies[name] = loss[:, place], share[:, place]
        trunks.update(_trunks(run, names))
    for name, trunk in trunks.items():
        at_decay[name] = trunk.test[np.searchsorted(trunk.steps, steps)]
    saturated, settled = _saturation(trunks, experiment.names, steps)
    order, later = experiment.names, steps > 0
    benefits = {
        name: benefit(steps[later], final[name][later], at_decay[name][later], saturated=saturated) for name in order
    }
    return LateDecay(
        trunks={name: trunks[name] for name in order},
        steps=steps,
        final={name: final[name] for name in order},
        accuracy={name: accuracies[name] for name in order},
        at_decay={name: at_decay[name] for name in order},
        benefits=benefits,
        saturated=saturated,
        settled=settled,
    )


def _ends(run: Run) -> tuple[Array, Array]:
    """Held-out loss and accuracy ``(decay steps, kinds, seeds)`` of the branches' ends."""
    found = []
    for which, step in enumerate(run.plan.decay_steps):
        found.append(clean_measures(run, run.branch_weights(which), held_out=True))
        run.report(f"looked at the branches from step {step}")
    losses, shares = zip(*found, strict=True)
    return np.stack(losses), np.stack(shares)


def _trunks(run: Run, names: tuple[str, ...]) -> dict[str, Trunk]:
    losses = []
    for step in run.plan.saved_steps:
        weights = run.trunk_weights(step)
        losses.append([clean_measures(run, weights, held_out=part)[0] for part in (False, True)])
        run.report(f"looked at the trunk at step {step}")
    steps, (train_loss, test_loss) = np.array(run.plan.saved_steps, dtype=float), np.stack(losses, axis=1)
    return {name: Trunk(steps, train_loss[:, place], test_loss[:, place]) for place, name in enumerate(names)}


def _saturation(trunks: dict[str, Trunk], names: tuple[str, ...], decays: NDArray[np.int64]) -> tuple[int, bool]:
    """The first decay step at which the training loss of the first kind has saturated, and True.

    What is left to fit is read off the first kind without label noise, same seeds and batches: its loss over where it
    ends. Label noise hides that part and adds a floor, which falls for as long as tr H does. Where fewer than two
    decays are left, the first decay step and False.
    """
    noisy = trunks[names[0]]
    quiet = trunks[next((name for name in names if KINDS[name][0] == "none"), names[0])].train
    left = quiet - quiet[-max(1, len(quiet) // 4) :].mean(axis=0)
    step = saturation(noisy.steps.astype(np.int64), left, noisy.train, false_alarm=SATURATION_LEVEL)
    later = [int(decay) for decay in decays if step is not None and decay >= max(step, 1)]
    if len(later) >= 2:
        return later[0], True
    return int(decays[decays > 0].min()), False


def checkpoints(experiment: Experiment, kind: str) -> tuple[NDArray[np.int64], torch.Tensor, torch.Tensor]:
    """Saved steps ``(m,)``, trunk weights ``(m, p)`` and branch ends ``(k, p)`` of the first seed of ``kind``."""
    run, place = experiment.find(kind)
    steps = np.array(run.plan.saved_steps)
    path = _filled(len(steps), (run.trunk_weights(int(step))[place, 0] for step in steps))
    count = len(run.plan.decay_steps)
    return steps, path, _filled(count, (run.branch_weights(k)[place, 0] for k in range(count)))


def _filled(count: int, rows: Iterator[torch.Tensor]) -> torch.Tensor:
    """Rows ``(count, p)`` as a stack that keeps nothing else alive of what they were cut from."""
    first = next(rows)
    found = torch.empty(count, len(first), dtype=first.dtype)
    for k, row in enumerate(chain([first], rows)):
        found[k] = row
    return found
