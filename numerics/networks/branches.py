"""One trunk at the large learning rate, and decays branched off it at many steps, every seed and kind of noise at once.

The run is a folder of checkpoints. It can be killed at any moment: the next call goes on from the last checkpoint and,
at the same thread count, ends with the same bits.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.networks import checkpoint
from numerics.networks.data import Array, Examples
from numerics.networks.flat import FlatModel
from numerics.networks.train import DivergedError, Program, Recipe, Replicas, State, measure

Report = Callable[[str], None]
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Plan:
    """A late-decay experiment: what the trunk is, when branches leave it, and how they go on.

    ``kinds`` are label-noise kinds; each of them, with each of ``seeds``, is one replica of the trunk. A branch divides
    ``eta`` by ``factor`` at its decay step and runs ``branch_steps``, its momentum kept or reset.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    eta: float
    noise: float
    flip: bool
    gain: float
    decay_steps: tuple[int, ...]
    path_steps: tuple[int, ...]
    factor: float
    branch_steps: int
    keep_momentum: bool
    precision: str
    save_every: int

    def __post_init__(self) -> None:
        if not self.decay_steps or list(self.decay_steps) != sorted(set(self.decay_steps)) or self.decay_steps[0] < 0:
            raise InputError("decay steps", self.decay_steps, "are not increasing", "list each step once, in order")
        if self.factor <= 1:
            raise InputError("decay factor", self.factor, "does not lower the learning rate", "give a factor above 1")
        if min(self.branch_steps, self.save_every) < 1:
            raise InputError("branch steps", self.branch_steps, "is below 1", "give at least one step")
        if self.precision not in PRECISIONS:
            raise InputError("precision", self.precision, "is not known", "choose float32 or float64")

    @property
    def replicas(self) -> Replicas:
        """The trunk's replicas, kind by kind, seeds within."""
        count = len(self.kinds) * len(self.seeds)
        kinds = tuple(kind for kind in self.kinds for _ in self.seeds)
        return Replicas(self.seeds * len(self.kinds), (self.eta,) * count, kinds, self.noise, self.flip)

    @property
    def branches(self) -> Replicas:
        """The branches' replicas: decay step by decay step, the trunk's replicas within."""
        trunk, times = self.replicas, len(self.decay_steps)
        rates = (self.eta / self.factor,) * (times * len(trunk.seeds))
        return Replicas(trunk.seeds * times, rates, trunk.noise * times, self.noise, self.flip)

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """The trunk's steps whose full state is kept: decay steps and path steps."""
        return tuple(sorted({0, *self.decay_steps, *self.path_steps}))


def fingerprint(plan: Plan, model: FlatModel, examples: Examples) -> str:
    """SHA-256 of plan, network shapes and data: what a checkpoint must agree with before it is continued."""
    digest = hashlib.sha256(json.dumps([asdict(plan), str(model.module)], sort_keys=True).encode())
    for array in (examples.x, examples.labels, examples.x_test, examples.labels_test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Run:
    """One experiment in its folder: train, resume, read back. Raises InputError where training diverges."""

    plan: Plan
    model: FlatModel
    examples: Examples
    folder: Path
    report: Report

    @cached_property
    def mark(self) -> str:
        """The fingerprint that every checkpoint of this run carries."""
        return fingerprint(self.plan, self.model, self.examples)

    def trunk(self) -> None:
        """Train the trunk to its last saved step; saved steps leave checkpoints, save_every resume points."""
        program = self._program(self.plan.replicas, 0)
        self._train(program, program.start(gain=self.plan.gain), "trunk", set(self.plan.saved_steps))

    def branches(self) -> None:
        """Train every branch from its trunk checkpoint to its end."""
        program = self._program(self.plan.branches, 1)
        parts = [self.trunk_state(step) for step in self.plan.decay_steps]
        theta = torch.cat([part.theta for part in parts])
        velocity = torch.cat([part.velocity for part in parts]) * float(self.plan.keep_momentum)
        self._train(program, State(theta, velocity, 0), "branch", {self.plan.branch_steps})

    def trunk_state(self, step: int) -> State:
        """The trunk's full state at a saved step."""
        return self._read("trunk", step)[0]

    def branch_weights(self) -> torch.Tensor:
        """Final weights ``(decay steps, kinds, seeds, p)``."""
        plan = self.plan
        final = self._read("branch", plan.branch_steps)[0].theta
        return final.view(len(plan.decay_steps), len(plan.kinds), len(plan.seeds), -1)

    def trunk_weights(self, step: int) -> torch.Tensor:
        """Weights ``(kinds, seeds, p)`` of the trunk at a saved step."""
        return self.trunk_state(step).theta.view(len(self.plan.kinds), len(self.plan.seeds), -1)

    def observed_losses(self) -> tuple[NDArray[np.int64], Array]:
        """Step counts ``(m,)`` and the trunk's mean observed (noisy) training loss since the one before, ``(m, R)``."""
        steps = [step for step in self.plan.saved_steps if step > 0]
        means = [self._read("trunk", step)[1] for step in steps]
        return np.array(steps), np.array(means)

    def _program(self, replicas: Replicas, stream: int) -> Program:
        precision = PRECISIONS[self.plan.precision]
        return Program(self.model, self.examples, self.plan.recipe, replicas, dtype=precision, stream=stream)

    def _train(self, program: Program, state: State, stem: str, keep: set[int]) -> None:
        """From the last checkpoint (or ``state``) to the last step of ``keep``, through every one of them."""
        last = max(keep)
        done = checkpoint.steps_saved(self.folder, stem)
        if done:
            state, _ = self._read(stem, done[-1])
            self.report(f"{stem}: resumed at step {done[-1]}")
        elif 0 in keep:
            self._write(stem, state, np.zeros(program.count))
        stops = sorted(keep | set(range(self.plan.save_every, last, self.plan.save_every)))
        for stop in (stop for stop in stops if stop > state.step):
            before = state.step
            state, losses = self._advance(program, state, stop, stem)
            self._write(stem, state, losses.mean(axis=0))
            self._drop_unless(stem, before, keep)
            self.report(f"{stem}: step {stop} of {last}, mean loss {losses.mean():.4f}")

    def _advance(self, program: Program, state: State, stop: int, stem: str) -> tuple[State, Array]:
        """To step ``stop``, or an InputError that says where training broke and what the last good checkpoint is."""
        try:
            return program.advance(state, stop - state.step)
        except DivergedError as error:
            kept = checkpoint.step_file(self.folder, stem, state.step)
            rule = f"makes the loss of the {stem} infinite or NaN at step {error.step} (seed {error.seed})"
            raise InputError("eta", error.eta, rule, f"lower it; last good checkpoint: {kept}") from error

    def _drop_unless(self, stem: str, step: int, keep: set[int]) -> None:
        """Remove the resume point before the newest."""
        if step not in keep:
            checkpoint.step_file(self.folder, stem, step).unlink(missing_ok=True)

    def _write(self, stem: str, state: State, loss: Array) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "theta": state.theta.numpy(),
            "velocity": state.velocity.numpy(),
            "loss": loss,
        }
        settings = {"step": state.step, "mark": self.mark, "threads": torch.get_num_threads()}
        checkpoint.save(checkpoint.step_file(self.folder, stem, state.step), arrays, settings)

    def _read(self, stem: str, step: int) -> tuple[State, Array]:
        path = checkpoint.step_file(self.folder, stem, step)
        arrays, settings = checkpoint.load(path)
        if settings["mark"] != self.mark:
            raise InputError("checkpoint", path, "belongs to other settings", "choose another --out, or delete it")
        theta, velocity = torch.from_numpy(arrays["theta"]), torch.from_numpy(arrays["velocity"])
        return State(theta, velocity, step), arrays["loss"]


def clean_measures(run: Run, weights: torch.Tensor, *, held_out: bool) -> tuple[Array, Array]:
    """Loss and accuracy of weights ``(..., p)`` on clean training or held-out examples, each of shape ``(...)``."""
    examples, lead = run.examples, weights.shape[:-1]
    x, labels = (examples.x_test, examples.labels_test) if held_out else (examples.x, examples.labels)
    flat = weights.reshape(-1, weights.shape[-1])
    measured = measure(run.model, flat, x, examples.targets(labels), loss=run.plan.recipe.loss)
    return measured.loss.reshape(lead), measured.accuracy.reshape(lead)
