"""Many cooldowns off one stable run: a checkpoint, a list of fractions, one call. Killed, it goes on at the next."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from numerics.errors import InputError
from numerics.files import prepare_folder, write_bytes
from numerics.schedule import Shape, WarmupStableDecay

FORMAT = "latedecay-run-1"

Make = Callable[[], tuple[nn.Module, Optimizer]]
#: one training step: model, optimizer, step number (which addresses the batch) -> loss
TakeStep = Callable[[nn.Module, Optimizer, int], Any]


def save_run(path: Path, model: nn.Module, optimizer: Optimizer, step: int, **settings: Any) -> Path:
    """Weights, optimizer state, torch's random state and the number of the next step, atomically, with a SHA-256."""
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    stream = io.BytesIO()
    torch.save(content, stream)
    payload = stream.getvalue()
    header = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), "step": step, **settings}
    return write_bytes(path, json.dumps(header).encode() + b"\n" + payload)


def read_header(path: Path) -> dict[str, Any]:
    """Step, SHA-256 and settings of a file that `save_run` wrote. Raises InputError for anything else."""
    if not path.exists():
        raise InputError("checkpoint", path, "does not exist", "save one with save_run in the stable phase")
    with open(path, "rb") as stream:
        line = stream.readline(1 << 16)
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError("checkpoint", path, "is not a run saved by save_run", "save one in the stable phase")
    return header


def load_run(path: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Restore what `save_run` saved; the number of the next step. Raises InputError: foreign, damaged, or of another
    model.
    """
    header = read_header(path)
    payload = path.read_bytes().partition(b"\n")[2]
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise InputError(
            "checkpoint", path, "is damaged: its SHA-256 is not the recorded one", "go back to an earlier one"
        )
    content = torch.load(io.BytesIO(payload), weights_only=True)
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError("checkpoint", path, f"does not fit this model ({reason})", "build the same model") from error
    torch.set_rng_state(content["random"])
    return int(header["step"])


@dataclass(frozen=True)
class Branch:
    """A finished cooldown: the fraction asked for, its steps, and the file with its end state."""

    fraction: float
    steps: int
    path: Path


def branch_decay(
    checkpoint: Path,
    fractions: Sequence[float],
    *,
    make: Make,
    take_step: TakeStep,
    out: Path,
    shape: Shape = "1-sqrt",
    final: float = 0.0,
    save_every: int = 500,
) -> list[Branch]:
    """Cool down from a checkpoint of the stable phase once per fraction, each over fraction times the steps so far.

    ``make`` builds the model and optimizer, ``take_step`` runs one step; both as in the stable run. Each branch has
    its file in ``out``, saved every ``save_every`` steps, and a second call goes on from there. Raises InputError for
    fractions out of range, a checkpoint inside a cooldown or at step 0, and branch files of another checkpoint or
    cooldown.
    """
    _check_fractions(fractions)
    if save_every < 1:
        raise InputError("save_every", save_every, "is below 1", "give a number of steps")
    trunk = read_header(checkpoint)
    if trunk["step"] < 1:
        raise InputError("checkpoint step", trunk["step"], "leaves nothing to take a fraction of", "branch off later")
    folder = prepare_folder(out)
    branches = []
    for fraction in fractions:
        schedule = _cooldown(trunk["step"], fraction, shape, final)
        path = folder / f"branch-{trunk['step']:09d}-{fraction:g}.ckpt"
        _run_branch(checkpoint, trunk, schedule, path, make, take_step, save_every)
        branches.append(Branch(fraction, schedule.decay, path))
    return branches


def _check_fractions(fractions: Sequence[float]) -> None:
    if not fractions:
        raise InputError(
            "fractions", list(fractions), "names no branch", "give fractions of the steps so far, such as 0.1"
        )
    for fraction in fractions:
        if not 0 < fraction <= 1:
            rule = "is not a fraction of the steps so far"
            raise InputError("fractions", fraction, rule, "give numbers above 0 and up to 1 (not steps, not epochs)")


def _cooldown(step: int, fraction: float, shape: Shape, final: float) -> WarmupStableDecay:
    """The closed form of a branch: 1 up to ``step``, then down to ``final``."""
    length = max(1, round(fraction * step))
    return WarmupStableDecay(1.0, step + length, 0, length, final, shape)


def _run_branch(
    checkpoint: Path,
    trunk: dict[str, Any],
    schedule: WarmupStableDecay,
    path: Path,
    make: Make,
    take_step: TakeStep,
    save_every: int,
) -> None:
    """From the checkpoint, or from where the branch's own file stands, to the end of the cooldown."""
    model, optimizer = make()
    settings = {"trunk": trunk["sha256"], "shape": schedule.shape, "final": schedule.final, "end": schedule.total}
    step = load_run(checkpoint, model, optimizer)
    rates = _large_rates(optimizer, checkpoint)
    if path.exists():
        _refuse_foreign(path, settings)
        step = load_run(path, model, optimizer)
    while step < schedule.total:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * float(schedule(step))
        take_step(model, optimizer, step)
        step += 1
        if step == schedule.total or (step - trunk["step"]) % save_every == 0:
            save_run(path, model, optimizer, step, **settings)


def _large_rates(optimizer: Optimizer, checkpoint: Path) -> list[float]:
    """Learning rates of the stable phase. Refuses a checkpoint that is already decaying."""
    for group in optimizer.param_groups:
        large = float(group.get("initial_lr", group["lr"]))
        if abs(float(group["lr"]) - large) > 1e-9 * large:
            rule = f"was saved at learning rate {float(group['lr']):g}, not at the stable phase's {large:g}"
            raise InputError("checkpoint", checkpoint, rule, "branch off a checkpoint of the stable phase")
    return [float(group["lr"]) for group in optimizer.param_groups]


def _refuse_foreign(path: Path, settings: dict[str, Any]) -> None:
    """A branch file belongs to this checkpoint and this cooldown, by hash and settings."""
    header = read_header(path)
    found = {name: header.get(name) for name in settings}
    if found != settings:
        wrong = next(name for name in settings if found[name] != settings[name])
        rule = f"belongs to another schedule (its {wrong} is {str(found[wrong])[:16]}, not {str(settings[wrong])[:16]})"
        raise InputError("checkpoint", path, rule, "choose another folder, or delete it")
