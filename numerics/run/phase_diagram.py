"""`phase-diagram`: rho after a given number of steps over a grid of two settings, SGD beside the law."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.run.options import (
    Batch,
    Data,
    Depth,
    Device,
    Engine,
    Features,
    Fraction,
    Gamma,
    Precision,
    Rho0,
    Rows,
    Seed,
    Shape,
    Sigma,
    Target,
    depth_of,
)  # fmt: skip

if TYPE_CHECKING:
    from numerics.run.machine import Machine
    from numerics.run.phase_grid import Grid

X = Annotated[str, typer.Option(help="columns: NAME=LOW:HIGH:COUNT[:log] or NAME=VALUE,VALUE,...; NAME is one of "
                                "eta-fraction, eta, sigma, batch, depth, rho0")]  # fmt: skip
Y = Annotated[str, typer.Option(help="rows, likewise")]
Eta = Annotated[str, typer.Option(help="learning rate where it does not vary, or auto: a share of the stability limit")]
Steps = Annotated[str, typer.Option(help="steps of every cell, or auto: from the law at the middle of the grid (C6)")]
Replicas = Annotated[int, typer.Option(help="independent runs per cell")]
Threads = Annotated[int, typer.Option(help="of the CPU")]
Out = Annotated[Path, typer.Option(help="folder for figure, netCDF and summary.json")]
Small = Annotated[
    bool,
    typer.Option("--small", help="a few seconds: at most 4 x 3 cells, 16 replicas, 8 rows; 4000 steps unless given"),
]

_SMALL_SHAPE, _SMALL_REPLICAS, _SMALL_STEPS = (4, 3), 16, 4000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("phase-diagram")(command)


def command(
    x: X = "eta-fraction=0.2:1.2:11",
    y: Y = "sigma=0.01:0.1:8:log",
    data: Data = "digits",
    n: Rows = None,
    features: Features = None,
    target: Target = None,
    parametrization: Shape = "radial",
    depth: Depth = None,
    gamma: Gamma = None,
    eta: Eta = "auto",
    eta_fraction: Fraction = 0.6,
    batch: Batch = 4,
    sigma: Sigma = 0.03,
    rho0: Rho0 = "auto",
    steps: Steps = "auto",
    replicas: Replicas = 16,
    device: Device = "cpu",
    engine: Engine = "auto",
    precision: Precision = "float64",
    seed: Seed = 0,
    threads: Threads = 2,
    out: Out = Path("out/phase-diagram"),
    small: Small = False,
) -> None:
    """rho after a number of steps over a grid of two settings: SGD on the CPU or on a card, beside the law."""
    given = {name: value for name, value in locals().items() if name not in ("x", "y")}
    given["depth"] = depth_of(given.pop("depth"), given.pop("gamma"))
    started = time.perf_counter()
    from numerics.run.machine import Machine

    grid = _grid(x, y, given)
    machine = Machine.of(grid.settings)
    machine.require()
    for line in run(grid, machine, out, started):
        typer.echo(line)


def _grid(x: str, y: str, given: dict[str, Any]) -> "Grid":
    from numerics.run.cli import numbers_or_auto
    from numerics.run.phase_grid import Axis, Grid, parse_axis
    from numerics.run.settings import validated

    settings = validated(job="phase-diagram", **numbers_or_auto(given))
    axes = [parse_axis(option, text) for option, text in (("x", x), ("y", y))]
    if settings.small:
        axes = [Axis(a.name, _thinned(a.values, most)) for a, most in zip(axes, _SMALL_SHAPE, strict=True)]
        fewer = {"replicas": min(settings.replicas, _SMALL_REPLICAS)}
        settings = settings.model_copy(update=fewer | ({"steps": _SMALL_STEPS} if settings.steps == "auto" else {}))
    return Grid(settings, *axes)


def _thinned(values: tuple[float, ...], most: int) -> tuple[float, ...]:
    """At most so many of them, first and last among them."""
    count = min(most, len(values))
    return tuple(values[i * (len(values) - 1) // max(count - 1, 1)] for i in range(count))


def run(grid: "Grid", machine: "Machine", out: Path, started: float) -> list[str]:
    """Predict memory, simulate, compare, write everything to ``out``; the lines to print. Raises InputError."""
    from threadpoolctl import threadpool_limits

    from numerics.memory import require, resident, size
    from numerics.run import phase_report
    from numerics.run.cli import Progress
    from numerics.run.memory import PROBLEM_REMEDY, loading
    from numerics.run.phase_run import Clock, predicted_memory, simulate
    from numerics.run.session import session

    require(loading(grid.settings), PROBLEM_REMEDY, held=resident())  # the problem is loaded to predict the rest
    with threadpool_limits(1):  # small matrices; more threads would change bits
        memory, steps = predicted_memory(grid, machine), grid.duration()
        typer.echo(f"memory on {machine.device}: about {size(memory.card or memory.host)}", err=True)
        with session(out, needs=memory.host, remedy="lower --replicas or the grid's size") as folder:
            clock = Clock()
            with Progress("phase-diagram") as progress:
                progress.begin(grid.replicas * steps)
                parts = clock.around(simulate(grid, machine, steps, progress.tick))
                cells = [phase_report.found(grid, cell, observed, steps) for cell, observed in parts]
            cells.sort(key=lambda one: one.cell.first)
            _write(grid, machine, cells, steps, clock.seconds, folder.staging, started)
    rate = grid.replicas * steps / clock.seconds
    return [
        phase_report.text(grid, cells, steps),
        f"{rate:.3g} replica-steps/s on {machine.device} ({grid.replicas:,} replicas, {clock.seconds:.1f} s)",
        f"\npicture: {out / 'phase-diagram.png'}\ncurves:  {out / 'phase-diagram.nc'}\nsummary: {out / 'summary.json'}",
    ]


def _write(
    grid: "Grid", machine: "Machine", cells: list[Any], steps: int, seconds: float, folder: Path, started: float
) -> None:
    from numerics import files
    from numerics.plotting import style
    from numerics.provenance import provenance
    from numerics.run import phase_report

    settings = grid.settings
    with style():
        files.write_figure(folder / "phase-diagram", phase_report.draw(grid, cells))
    files.write_netcdf(folder / "phase-diagram.nc", phase_report.dataset(grid, cells, steps))
    made = provenance(seed=settings.seed, started=started, threads=settings.threads, inputs=settings.inputs)
    record = {
        "job": "phase-diagram",
        "problem": {"name": grid.base.problem.name, "n": grid.base.problem.n, "d": grid.base.problem.d},
        "settings": {**settings.model_dump(exclude={"job", "first_replica", "force"}), "steps": steps},
        "x": {"name": grid.x.name, "values": list(grid.x.values)},
        "y": {"name": grid.y.name, "values": list(grid.y.values)},
        "machine": {"device": machine.device, "engine": machine.engine, "precision": machine.precision},
        "cells": phase_report.arrays(grid, cells),
        "checks": [one.check.record() for one in cells],
        "provenance": made | {"replica_steps": grid.replicas * steps, "simulation_seconds": seconds},
    }
    files.write_json(folder / "summary.json", record)
