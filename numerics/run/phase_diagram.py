"""`phase-diagram`: rho after a given number of steps over a grid of two settings, SGD beside the law."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.run.options import options_of, values
from numerics.run.settings import DiagramSettings, validated_as

if TYPE_CHECKING:
    from numerics.run.machine import Machine
    from numerics.run.phase_grid import Grid

X = Annotated[str, typer.Option(help="columns: NAME=LOW:HIGH:COUNT[:log] or NAME=VALUE,VALUE,...; NAME is one of "
                                "eta-fraction, eta, sigma, batch, depth, rho0")]  # fmt: skip
Y = Annotated[str, typer.Option(help="rows, likewise")]

_SMALL_SHAPE, _SMALL_STEPS = (4, 3), 4000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("phase-diagram")(command)


@options_of(DiagramSettings, job="phase-diagram")
def command(x: X = "eta-fraction=0.2:1.2:11", y: Y = "sigma=0.01:0.1:8:log", **given: Any) -> None:
    """rho over a grid of two settings, SGD beside the law. After a number of steps, on the CPU or on a card."""
    started = time.perf_counter()
    from numerics.run.machine import Machine

    settings = validated_as(DiagramSettings, job="phase-diagram", **values(given, DiagramSettings))
    grid = _grid(x, y, settings)
    machine = Machine.of(grid.settings)
    machine.require()
    for line in run(grid, machine, settings.out, started):
        typer.echo(line)


def _grid(x: str, y: str, settings: DiagramSettings) -> "Grid":
    from numerics.run.phase_grid import Axis, Grid, parse_axis

    axes = [parse_axis(option, text) for option, text in (("x", x), ("y", y))]
    if settings.small:
        axes = [Axis(a.name, _thinned(a.values, most)) for a, most in zip(axes, _SMALL_SHAPE, strict=True)]
        settings = settings.model_copy(update={"steps": _SMALL_STEPS} if settings.steps == "auto" else {})
    return Grid(settings, *axes)


def _thinned(values: tuple[float, ...], most: int) -> tuple[float, ...]:
    """At most so many of them, first and last among them."""
    count = min(most, len(values))
    return tuple(values[i * (len(values) - 1) // max(count - 1, 1)] for i in range(count))


def run(grid: "Grid", machine: "Machine", out: Path, started: float) -> list[str]:
    """Predict memory, simulate, compare, write everything to ``out``; the lines to print. Raises InputError."""
    from threadpoolctl import threadpool_limits

    from numerics.memory import require, resident
    from numerics.run import phase_report
    from numerics.run.memory import PROBLEM_REMEDY, loading
    from numerics.run.phase_run import Clock, predicted_memory, simulate
    from numerics.run.progress import Progress
    from numerics.run.session import session

    require(loading(grid.settings), PROBLEM_REMEDY, held=resident())  # the problem is loaded to predict the rest
    with threadpool_limits(1):  # small matrices; more threads would change bits
        memory, steps = predicted_memory(grid, machine), grid.duration()
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
