"""A late-decay experiment told: figures, table, netCDF and summary from the same measured numbers."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from numerics.files import write_figure
from numerics.networks import landscape_figure, late_decay_figure, late_decay_law
from numerics.networks.branches import Report
from numerics.networks.landscape import Field
from numerics.networks.landscape_figure import Landscape
from numerics.networks.landscapes import Gaps, landscape
from numerics.networks.late_decay import SATURATION_LEVEL, Experiment, checkpoints
from numerics.networks.late_decay_figure import LateDecay
from numerics.networks.late_decay_law import Prediction
from numerics.plotting import STYLE, letter, new_figure

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Drawn:
    """A landscape, its projection gaps and the explained variance of its two directions."""

    shown: Landscape
    gaps: Gaps
    explained: tuple[float, float]


def figure(data: LateDecay, law: Prediction | None) -> Figure:
    """Trunk, final loss (with the law's where there is one), final accuracy, and before against after."""
    whole, axes = new_figure(2, 2, width=8.2, height=2.9)
    with rc_context(STYLE):
        late_decay_figure.draw_trunk(axes[0], data)
        late_decay_figure.draw_final(axes[1], data, None if law is None else (law.steps, law.predicted.mean(axis=1)))
        late_decay_figure.draw_accuracy(axes[2], data)
        late_decay_figure.draw_relation(axes[3], data)
        letter(axes)
        handles, labels = axes[1].get_legend_handles_labels()
        whole.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return whole


def landscapes(
    experiment: Experiment,
    data: LateDecay,
    kinds: tuple[str, ...],
    level: float,
    points: int,
    examples: tuple[int | None, int | None],
    seed: int,
    folder: Path,
    pictures: Path,
    report: Report,
) -> dict[str, Drawn]:
    """Evaluate and draw every surface of ``kinds`` for the first seed of the first kind, from saturation on.

    ``examples``: how many of training and held out, as for Field.of. What it resumes from lies in ``folder``.
    """
    run = experiment.runs[0]
    steps, path, ends = checkpoints(experiment, experiment.names[0])
    late, decays = steps >= data.saturated, data.steps >= data.saturated
    field = Field.of(run.model, experiment.examples, run.plan.recipe.loss, path.dtype, *examples)
    starts = torch.stack([path[list(steps).index(step)] for step in data.steps[decays]])
    path = path[late]
    drawn = {}
    for kind in kinds:
        shown, gaps, on = landscape(
            kind,
            field,
            steps=steps[late],
            path=path,
            starts=starts,
            ends=ends[torch.as_tensor(decays)],
            middle=int(late.sum()) // 2,
            points=points,
            above=level,
            seed=seed,
            folder=folder / "state" / f"landscape-{kind}",
            report=report,
        )
        write_figure(pictures / f"landscape-{kind}", landscape_figure.figure(shown))
        drawn[kind] = Drawn(shown, gaps, on.explained)
    return drawn


def lines(experiment: Experiment, data: LateDecay, law: Prediction | None, drawn: dict[str, Drawn]) -> list[str]:
    """The results as text."""
    configuration = experiment.configuration
    counts = f"{len(experiment.examples.x)} training and {len(experiment.examples.x_test)} held-out examples"
    text = [
        f"\n{configuration.name}: {counts}, p = {experiment.runs[0].model.size}, eta = {configuration.eta:g}, "
        f"momentum {configuration.momentum:g}, B = {configuration.batch}, noise {configuration.noise:g}, "
        f"{configuration.seeds} paired seeds",
        _saturation_line(data),
    ]
    for kind in experiment.names:
        text += _benefit_lines(data, kind)
    text += [] if law is None else late_decay_law.lines(law)
    for name, entry in drawn.items():
        text += _landscape_lines(name, entry)
    return text


def _saturation_line(data: LateDecay) -> str:
    if data.settled:
        return (
            f"training loss saturated from decay step {data.saturated} on: what is left to fit without label noise is "
            f"less than {len(data.final[next(iter(data.final))][0])} seeds can tell (t test, {SATURATION_LEVEL:.0%})"
        )
    return (
        f"training loss NOT saturated two decays before the end: changes are counted from decay step {data.saturated}"
    )


def _benefit_lines(data: LateDecay, kind: str) -> list[str]:
    found = data.benefits[kind]
    label = late_decay_figure.LABELS[kind][0]
    rows = [f"\n{label}: final test loss against decay step (mean ± standard error; accuracy)"]
    table = zip(data.steps, data.final[kind], data.accuracy[kind], strict=True)
    for step, loss, share in table:
        sem = loss.std(ddof=1) / np.sqrt(len(loss))
        rows.append(f"  {step:>9d}  {loss.mean():.4f} ± {sem:.4f}   {share.mean():.1%}")
    change = found.change
    interval = f"95 % interval {change.low:+.1%} … {change.high:+.1%}"
    rows.append(f"  from decay step {data.saturated} to the last: {change.mean:+.1%} ({interval}): {change.verdict}")
    rows.append(
        f"  decay steps {found.steps[0]} … {found.steps[-1]}: falls at every one: {'yes' if found.monotone else 'no'}; "
        f"rank correlation {found.correlation:.3f} (seed means), {found.per_seed:.3f} ± {found.per_seed_sem:.3f} "
        f"(single seeds), {found.pooled:.3f} (all branches)"
    )
    rows.append(f"  correlation of test loss at decay and at the end: {found.at_decay:.3f}")
    return rows


def _landscape_lines(name: str, entry: Drawn) -> list[str]:
    shown, gaps = entry.shown, entry.gaps
    rows = [f"\nlandscape {name}: {shown.title}"]
    if np.isfinite(entry.explained[0]):
        rows.append(f"  explained variance: {entry.explained[0]:.1%} + {entry.explained[1]:.1%}")
    for part, valley in zip(("train", "held out"), shown.openness, strict=True):
        rows.append(
            f"  {part:8}: {valley.border:.1%} of the border inside loss ≤ {valley.level:.4f}; "
            f"minimum {valley.minimum:.4f}, curvatures there {valley.curvatures[0]:.3g}, {valley.curvatures[1]:.3g} "
            f"(ratio {valley.ratio:.3g})"
        )
    places = [*(f"trunk {step}" for step in shown.steps), *(f"branch end {k}" for k in range(len(shown.ends)))]
    rows.append("  checkpoint: distance from the surface; loss there minus at its projection, train and held out")
    for place, *values in zip(places, gaps.distance, gaps.train, gaps.test, strict=True):
        rows.append(f"    {place:>14}: {values[0]:.3f}; {values[1]:+.4f}, {values[2]:+.4f}")
    return rows


def summary(experiment: Experiment, data: LateDecay, law: Prediction | None, drawn: dict[str, Drawn]) -> dict[str, Any]:
    """Settings and results for summary.json, without provenance."""
    return {
        "job": "networks",
        "settings": {
            **asdict(experiment.configuration),
            "kinds": experiment.names,
            "plan": asdict(experiment.runs[0].plan),
        },
        "saturation": {"level": SATURATION_LEVEL, "decay_step": data.saturated, "reached": data.settled},
        "late_decay": {
            kind: {
                **asdict(found),
                "decay_steps": data.steps,
                "final_test_loss": data.final[kind],
                "final_accuracy": data.accuracy[kind],
                "test_loss_at_decay": data.at_decay[kind],
            }
            for kind, found in data.benefits.items()
        },
        "law": None if law is None else {**asdict(law), "checks": [check.record() for check in law.checks()]},
        "landscapes": {name: _landscape_record(entry) for name, entry in drawn.items()},
    }


def _landscape_record(entry: Drawn) -> dict[str, Any]:
    train, test = entry.shown.openness
    return {
        "surface": entry.shown.title,
        "explained_variance": entry.explained,
        "train": asdict(train),
        "held_out": asdict(test),
        "projection": asdict(entry.gaps),
    }


def dataset(data: LateDecay, law: Prediction | None, drawn: dict[str, Drawn]) -> "xarray.Dataset":
    """Every curve and grid, labelled."""
    import xarray

    variables: dict[str, Any] = {}
    for kind in data.final:
        for name, table in (("final_test_loss", data.final), ("final_accuracy", data.accuracy)):
            variables[f"{name}_{kind}"] = (("decay_step", "seed"), table[kind], {"long_name": name.replace("_", " ")})
        variables[f"test_loss_at_decay_{kind}"] = (("decay_step", "seed"), data.at_decay[kind])
        for name in ("train", "test"):
            values = getattr(data.trunks[kind], name)
            variables[f"trunk_{name}_loss_{kind}"] = (
                (f"step_{kind}", "seed"),
                values,
                {"long_name": f"{name} loss on clean labels"},
            )
        variables[f"step_{kind}"] = ((f"step_{kind}",), data.trunks[kind].steps, {"units": "step"})
    variables["decay_step"] = (("decay_step",), data.steps, {"units": "step"})
    if law is not None:
        variables["law_decay_step"] = (("law_decay_step",), law.steps, {"units": "step"})
        variables["final_test_loss_law"] = (
            ("law_decay_step", "seed"),
            law.predicted,
            {"long_name": "test loss after decay by the law"},
        )
    for name, entry in drawn.items():
        variables.update(_grid_variables(name, entry.shown))
    return xarray.Dataset(variables, attrs={"title": "late decay of real networks"})


def _grid_variables(name: str, shown: Landscape) -> dict[str, Any]:
    a, b = f"{name}_a", f"{name}_b"
    return {
        a: ((a,), shown.a, {"long_name": "coordinate along the first direction"}),
        b: ((b,), shown.b, {"long_name": "coordinate along the second direction"}),
        f"{name}_train_loss": ((a, b), shown.losses[:, :, 0], {"long_name": "training loss on clean labels"}),
        f"{name}_test_loss": ((a, b), shown.losses[:, :, 1], {"long_name": "held-out loss"}),
        f"{name}_trunk": (("trunk_checkpoint", "coordinate"), shown.trunk),
        f"{name}_branch_ends": (("branch", "coordinate"), shown.ends),
    }
