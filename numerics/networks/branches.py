"""One trunk at the large learning rate, and decays branched off it at many steps, every seed and kind of noise at once.

The run is a folder of checkpoints. It can be killed at any moment: the next call goes on from the last checkpoint and,
at the same thread count, ends with the same bits. Networks train in groups that fit a fixed number of bytes, one group
after another; small experiments are one group.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.networks import checkpoint
from numerics.networks.data import Array, Examples
from numerics.networks.flat import FlatModel
from numerics.networks.measured import measure
from numerics.networks.pace import Pace
from numerics.networks.pieces import Footprint, footprint, for_training, spans, within
from numerics.networks.plan import PRECISIONS, Plan
from numerics.networks.train import DivergedError, Program, Replicas, State

Report = Callable[[str], None]


def fingerprint(plan: Plan, model: FlatModel, examples: Examples) -> str:
    """SHA-256 of plan, network shapes and data: what a checkpoint must agree with before it is continued."""
    digest = hashlib.sha256(json.dumps([asdict(plan), str(model.module)], sort_keys=True).encode())
    for array in (examples.x, examples.labels, examples.x_test, examples.labels_test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Group:
    """Networks that train at once: their rows among all, what their checkpoints and their lines are called."""

    stem: str
    rows: slice
    label: str


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

    @cached_property
    def pace(self) -> Pace:
        """What is left to train, and how fast it goes."""
        return Pace(self.plan.work)

    @cached_property
    def shape(self) -> Footprint:
        """What of the network decides how much memory a step takes."""
        return footprint(self.model, self.examples.shape)

    @cached_property
    def at_once(self) -> int:
        """Networks that train at once: all branches, or as many as fit."""
        count, batch = len(self.plan.branches.seeds), self.plan.recipe.batch or len(self.examples.x)
        return for_training(self.shape, count, batch, PRECISIONS[self.plan.precision].itemsize).networks

    def trunk(self) -> None:
        """Train the trunk to its last saved step; saved steps leave checkpoints, save_every resume points."""
        for group in self._groups("trunk"):
            program = self._program(self.plan.replicas.part(group.rows), 0)
            start = partial(program.start, gain=self.plan.gain)
            self._train(program, start, group, set(self.plan.saved_steps))

    def branches(self) -> None:
        """Train every branch from its trunk checkpoint to its end."""
        for group in self._groups("branch"):
            program = self._program(self.plan.branches.part(group.rows), 1)
            self._train(program, partial(self._branch_start, group.rows), group, {self.plan.branch_steps})

    def trunk_state(self, step: int) -> State:
        """The trunk's full state at a saved step."""
        return self._state("trunk", step, slice(0, len(self.plan.replicas.seeds)))

    def branch_weights(self, which: int) -> torch.Tensor:
        """Final weights ``(kinds, seeds, p)`` of the branches that left the trunk at decay step number ``which``."""
        count = len(self.plan.replicas.seeds)
        rows = slice(which * count, (which + 1) * count)
        return self._by_kind(self._state("branch", self.plan.branch_steps, rows).theta)

    def trunk_weights(self, step: int) -> torch.Tensor:
        """Weights ``(kinds, seeds, p)`` of the trunk at a saved step."""
        return self._by_kind(self.trunk_state(step).theta)

    def observed_losses(self) -> tuple[NDArray[np.int64], Array]:
        """Step counts ``(m,)`` and the trunk's mean observed (noisy) training loss since the last stop before.

        Losses are ``(m, R)``; stops are saved steps and resume points.
        """
        steps = [step for step in self.plan.saved_steps if step > 0]
        groups = self._groups("trunk")
        means = [np.concatenate([self._read(group.stem, step)[1] for group in groups]) for step in steps]
        return np.array(steps), np.array(means)

    def _by_kind(self, theta: torch.Tensor) -> torch.Tensor:
        return theta.view(len(self.plan.kinds), len(self.plan.seeds), -1)

    def _groups(self, stem: str) -> list[Group]:
        """Which networks of the trunk or of the branches train at once, and what their checkpoints are called."""
        replicas = self.plan.replicas if stem == "trunk" else self.plan.branches
        count = len(replicas.seeds)
        cut = list(spans(count, self.at_once))
        labels = [stem if len(cut) == 1 else f"{stem} group {k} of {len(cut)}" for k in range(1, len(cut) + 1)]
        return [Group(f"{stem}-{k:03d}", *both) for k, both in enumerate(zip(cut, labels, strict=True))]

    def _branch_start(self, rows: slice) -> State:
        """Where these branches start: the trunk's rows at their decay steps."""
        count = len(self.plan.replicas.seeds)
        own = [(step, within(rows, slice(k * count, (k + 1) * count))) for k, step in enumerate(self.plan.decay_steps)]
        joined = _joined([self._state("trunk", step, part) for step, part in own if part.start < part.stop])
        return State(joined.theta, joined.velocity * float(self.plan.keep_momentum), 0)

    def _state(self, stem: str, step: int, rows: slice) -> State:
        """Some rows of the trunk or the branches, from the checkpoints of the groups that hold them."""
        parts = []
        for group in self._groups(stem):
            own = within(rows, group.rows)
            if own.start < own.stop:
                found = self._read(group.stem, step)[0]
                parts.append(State(found.theta[own], found.velocity[own], step))
        return _joined(parts)

    def _program(self, replicas: Replicas, stream: int) -> Program:
        precision = PRECISIONS[self.plan.precision]
        return Program(self.model, self.examples, self.plan.recipe, replicas, dtype=precision, stream=stream)

    def _train(self, program: Program, start: Callable[[], State], group: Group, keep: set[int]) -> None:
        """From the last checkpoint (or ``start``) to the last step of ``keep``, through every one of them."""
        stem, last = group.stem, max(keep)
        done = checkpoint.steps_saved(self.folder, stem)
        if done:
            state, _ = self._read(stem, done[-1])
            self.pace.skip(program.count * state.step)
            self.report(f"{group.label}: resumed at step {state.step}")
        else:
            state = start()
            if 0 in keep:
                self._write(stem, state, np.zeros(program.count))
        stops = sorted(keep | set(range(self.plan.save_every, last, self.plan.save_every)))
        for stop in (stop for stop in stops if stop > state.step):
            before = state.step
            state, losses = self._advance(program, state, stop, group)
            self._write(stem, state, losses.mean(axis=0))
            self._drop_unless(stem, before, keep)
            self.report(f"{group.label}: step {stop} of {last}, mean loss {losses.mean():.4f}{self.pace}")

    def _advance(self, program: Program, state: State, stop: int, group: Group) -> tuple[State, Array]:
        """To step ``stop``, or an InputError that says where training broke and what the last good checkpoint is."""
        started = time.perf_counter()
        try:
            found = program.advance(state, stop - state.step)
        except DivergedError as error:
            kept = checkpoint.step_file(self.folder, group.stem, state.step)
            rule = f"makes the loss of the {group.label} infinite or NaN at step {error.step} (seed {error.seed})"
            raise InputError("eta", error.eta, rule, f"lower it; last good checkpoint: {kept}") from error
        self.pace.add(program.count * (stop - state.step), time.perf_counter() - started)
        return found

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


def _joined(parts: list[State]) -> State:
    """States of the same step, one below the other."""
    theta, velocity = (torch.cat([getattr(part, name) for part in parts]) for name in ("theta", "velocity"))
    return State(theta, velocity, parts[0].step)


def clean_measures(run: Run, weights: torch.Tensor, *, held_out: bool) -> tuple[Array, Array]:
    """Loss and accuracy of weights ``(..., p)`` on clean training or held-out examples, each of shape ``(...)``."""
    examples, lead = run.examples, weights.shape[:-1]
    x, labels = (examples.x_test, examples.labels_test) if held_out else (examples.x, examples.labels)
    flat = weights.reshape(-1, weights.shape[-1])
    measured = measure(run.model, flat, x, examples.targets(labels), loss=run.plan.recipe.loss)
    return measured.loss.reshape(lead), measured.accuracy.reshape(lead)
