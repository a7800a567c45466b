"""What a phase diagram shows: per cell the simulated rho beside the law's, a verdict, the share that diverged."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.check import Check, critical_value, mean_and_sem, of_all_replicas, table
from numerics.errors import InputError
from numerics.plotting import letter, new_figure
from numerics.run.base_system import FloatArray, IntArray, System
from numerics.run.phase2 import rho_check, stability_check
from numerics.run.phase_grid import Axis, Cell, Grid
from numerics.run.phase_run import Observed
from numerics.scalar_law import SlowPath
from numerics.schedule import Constant

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: records along the law's path, which its neglected terms are summed over
_LAW_RECORDS = 9
#: checks that the terminal shows one by one; summary.json has all
_SHOWN = 24

#: name -> long name and unit of what a cell holds
CELL_VALUES = {
    "eta": ("learning rate", "1"),
    "stability_limit": ("mean-square stability limit of the learning rate", "1"),
    "rho": ("mean rho after relaxation onto the manifold, replicas that diverged left out", "unit of w"),
    "rho_sem": ("its standard error", "unit of w"),
    "rho_law": ("rho by the law, NaN where it does not exist", "unit of w"),
    "loss": ("mean train loss", "unit of y squared"),
    "loss_sem": ("its standard error", "unit of y squared"),
    "floor_law": ("mean train loss by the law", "unit of y squared"),
    "diverged": ("share of replicas that diverged", "1"),
}


@dataclass(frozen=True, eq=False)
class Found:
    """One cell's result: what `CELL_VALUES` names, its check, and rho of every replica ``(R,)``."""

    cell: Cell
    values: dict[str, float]
    check: Check
    replicas: FloatArray


def found(grid: Grid, cell: Cell, observed: Observed, steps: int) -> Found:
    """Means, law and check of one cell."""
    system = cell.system
    law = _law(system, np.unique(np.linspace(0, steps, _LAW_RECORDS).astype(np.int64)))
    rho, rho_sem = mean_and_sem(observed["rho_slow"])
    loss, loss_sem = mean_and_sem(observed["loss"])
    values = {
        "eta": system.eta,
        "stability_limit": system.stability_limit,
        "rho": float(rho),
        "rho_sem": float(rho_sem),
        "rho_law": float("nan") if law is None else float(law.rho[-1]),
        "loss": float(loss),
        "loss_sem": float(loss_sem),
        "floor_law": float("nan") if law is None else float(law.floor[-1]),
        "diverged": float(np.mean(~np.isfinite(observed["loss"]))),
    }
    return Found(cell, values, _check(grid, cell, law, observed, steps), observed["rho_slow"])


def _law(system: System, steps: IntArray) -> SlowPath | None:
    """The law along the run; None where eta passes the stability limit at the start or on the way."""
    if not system.stable:
        return None
    try:
        return system.path(Constant(system.eta), steps)
    except InputError:
        return None


def _check(grid: Grid, cell: Cell, law: SlowPath | None, observed: Observed, steps: int) -> Check:
    """C4 (C3) for this cell; C9 where the law does not exist."""
    if law is None:
        check = stability_check({"loss": observed["loss"][None]})
    else:
        critical = critical_value(grid.shape[0] * grid.shape[1], grid.settings.replicas)
        last = {"rho_slow": observed["rho_slow"][None]}
        check = rho_check(cell.system, law, np.array([steps]), last, -1, critical)
        check = of_all_replicas([check], int(np.sum(~np.isfinite(observed["loss"]))))[0]
    return replace(check, quantity=f"{'rho' if law else 'diverged'} at {grid.text(cell)}")


def arrays(grid: Grid, cells: list[Found]) -> dict[str, FloatArray]:
    """What `CELL_VALUES` names, each ``(rows, columns)``."""
    out = {name: np.full(grid.shape, np.nan) for name in CELL_VALUES}
    for one in cells:
        for name, value in one.values.items():
            out[name][one.cell.row, one.cell.column] = value
    return out


def dataset(grid: Grid, cells: list[Found], steps: int) -> "xarray.Dataset":
    """Every cell's values, and rho of every replica. No clock: equal runs, equal bytes."""
    import xarray

    variables: dict[str, Any] = {
        name: (("y", "x"), values, dict(zip(("long_name", "units"), CELL_VALUES[name], strict=True)))
        for name, values in arrays(grid, cells).items()
    }
    each = np.full((*grid.shape, grid.settings.replicas), np.nan)
    for one in cells:
        each[one.cell.row, one.cell.column] = one.replicas
    variables["rho_replica"] = (
        ("y", "x", "replica"),
        each,
        {"long_name": "rho after relaxation", "units": "unit of w"},
    )
    coordinates = {
        key: (key, np.array(axis.values), {"long_name": axis.name}) for key, axis in (("x", grid.x), ("y", grid.y))
    }
    attributes = {"title": "latedecay phase-diagram", "seed": str(grid.settings.seed), "steps": steps}
    return xarray.Dataset(variables, coordinates, attributes)


def text(grid: Grid, cells: list[Found], steps: int) -> str:
    """The verdicts, counted; one by one where they are few, else those that failed."""
    settings, problem = grid.settings, grid.base.problem
    verdicts = Counter(one.check.verdict for one in cells)
    reasons = Counter(reason for one in cells for reason in one.check.broken)
    head = (
        f"\n{problem.name}: n = {problem.n}, d = {problem.d}, {settings.shape}; "
        f"{grid.shape[1]} x {grid.shape[0]} cells, {settings.replicas} replicas each, {steps:,} steps\n"
    )
    shown = [one.check for one in cells if len(cells) <= _SHOWN or one.check.verdict == "fail"]
    lines = [head, *([table(shown)] if shown else [])]
    lines.append("cells: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    if reasons:
        lines.append("outside conditions for: " + ", ".join(f"{name} ({count})" for name, count in reasons.items()))
    return "\n".join(lines)


def draw(grid: Grid, cells: list[Found]) -> "Figure":
    """Simulated rho, the law's, how far they differ, and what diverged, over the grid."""
    values = arrays(grid, cells)
    figure, axes = new_figure(2, 2, height=3.0)
    start = np.array([[one.cell.system.rho0 for one in cells]]).max()
    share = 100 * (values["rho"] / values["rho_law"] - 1)
    reach = float(np.nanmax(np.abs(share))) if np.any(np.isfinite(share)) else 1.0
    _panel(axes[0], grid, values["rho"], r"SGD: $\rho$ at the end", {"vmin": 0, "vmax": start})
    _panel(axes[1], grid, values["rho_law"], r"law: $\rho$ at the end", {"vmin": 0, "vmax": start})
    _panel(
        axes[2], grid, share, r"$\rho / \rho_{\mathrm{law}} - 1$  [%]", {"vmin": -reach, "vmax": reach, "cmap": "PuOr"}
    )
    _panel(axes[3], grid, values["diverged"], "share diverged", {"vmin": 0, "vmax": 1, "cmap": "Greys"})
    letter(axes)
    return figure


def _panel(ax: "Axes", grid: Grid, values: FloatArray, title: str, look: dict[str, Any]) -> None:
    """One quantity as a picture; cells without a value hatched."""
    ax.set_facecolor("#dddddd")
    picture = ax.imshow(values, origin="lower", aspect="auto", interpolation="nearest", **{"cmap": "viridis", **look})
    ax.figure.colorbar(picture, ax=ax)
    ax.grid(visible=False)
    ax.set_title(title)
    _ticks(ax.set_xticks, ax.set_xlabel, grid.x)
    _ticks(ax.set_yticks, ax.set_ylabel, grid.y)


def _ticks(place: Any, name: Any, axis: Axis) -> None:
    """At most six values named."""
    chosen = np.unique(np.linspace(0, len(axis.values) - 1, min(6, len(axis.values))).round().astype(int))
    place(chosen, [f"{axis.values[i]:.2g}" for i in chosen])
    name(axis.label)
