"""`device-bench`: replica-steps per second of an ensemble on a device, as shares of what the device can do."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from numerics.errors import InputError
from numerics.run.options import Device, Shape

if TYPE_CHECKING:
    import torch

    from numerics.device.ensemble import Ensemble
    from numerics.run.machine import Machine
    from numerics.run.phase_grid import Cell

Engine = Annotated[str, typer.Option(help="torch, triton or auto: the fastest there")]
Precision = Annotated[str, typer.Option(help="float64 or float32")]
Depth = Annotated[float, typer.Option(help="depth D")]
Rows = Annotated[int, typer.Option("--n", help="rows")]
Columns = Annotated[int, typer.Option("--d", help="columns")]
Batch = Annotated[int, typer.Option(help="batch size")]
Replicas = Annotated[int, typer.Option(help="replicas [1024 on the CPU, 2^18 on a card]")]
Seconds = Annotated[float, typer.Option(help="least length of each measurement")]
Threads = Annotated[int, typer.Option(help="of the CPU")]
Out = Annotated[Path, typer.Option(help="folder for summary.json")]
Small = Annotated[bool, typer.Option("--small", help="64 replicas, short measurements")]
Estimate = Annotated[
    bool,
    typer.Option("--estimate", help="nothing runs: the fused kernel compiled for an H200, and a bound on its speed"),
]

_REPLICAS = {"cpu": 1024, "cuda": 1 << 18}
_STEPS_COUNTED = 64


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("device-bench")(command)


def command(
    device: Device = "cpu",
    engine: Engine = "auto",
    precision: Precision = "float64",
    parametrization: Shape = "radial",
    depth: Depth = 3.0,
    n: Rows = 20,
    d: Columns = 100,
    batch: Batch = 1,
    replicas: Replicas = 0,
    seconds: Seconds = 1.0,
    threads: Threads = 2,
    out: Out = Path("out/device-bench"),
    small: Small = False,
    estimate: Estimate = False,
) -> None:
    """Speed of an ensemble on a device. replica-steps/s, shares of the limits of arithmetic, memory and generator."""
    from numerics.files import write_json
    from numerics.provenance import provenance
    from numerics.run.machine import Machine
    from numerics.run.session import session

    started = time.perf_counter()
    if estimate:
        return typer.echo("\n".join(estimated(parametrization, depth, (n, d), batch, precision)))
    if engine == "numba":
        raise InputError("engine", engine, "is measured by bench", "run python -m numerics.run bench")
    machine = Machine(device, "torch" if engine == "auto" and device == "cpu" else engine, precision, threads)  # type: ignore[arg-type]
    place = machine.torch_device()
    count = 64 if small else replicas or _REPLICAS[place.type]
    cell = _cell(parametrization, depth, (n, d), batch)
    sizes = {"n": n, "d": d, "batch": batch, "replicas": count, "depth": depth, "parametrization": parametrization}
    with session(out, needs=_memory(machine, cell, count), remedy="lower --replicas") as folder:
        ensemble = _ensemble(machine, place, cell, count)
        record = measured(ensemble, place, 0.05 if small else seconds)
        made = provenance(seed=0, started=started, threads=threads)
        content = {"job": "device-bench", "sizes": sizes, **record, "provenance": made}
        write_json(folder.staging / "summary.json", content)
    typer.echo("\n".join(lines(record, sizes)))
    typer.echo(f"\nsummary: {out / 'summary.json'}")


def _ensemble(machine: "Machine", place: "torch.device", cell: "Cell", count: int) -> "Ensemble":
    """Every replica at one start on the manifold, at a small learning rate."""
    from numerics.device.ensemble import Ensemble
    from numerics.run.phase_run import cells_of, model_of

    return Ensemble(
        model_of(cell), cells_of([cell]), replicas=np.arange(count), batch=cell.system.noise.batch, seed=0,
        device=place, engine=machine.device_engine, precision=machine.precision,
    )  # fmt: skip


def _cell(name: str, depth: float, shape: tuple[int, int], batch: int) -> "Cell":
    """A Gaussian problem as a cell of a phase diagram. Raises InputError where it would not fit into memory."""
    from numerics.memory import require, resident
    from numerics.run.memory import loading
    from numerics.run.phase_grid import Axis, Grid
    from numerics.run.settings import validated

    settings = validated(
        job="device-bench", data="gaussian", n=shape[0], features=shape[1], parametrization=name, depth=depth,
        batch=batch, replicas=2, out="out",
    )  # fmt: skip
    require(loading(settings), "lower --n or --d", held=resident())
    return Grid(settings, Axis("sigma", (settings.sigma,)), Axis("batch", (float(batch),))).cells[0]


def _memory(machine: "Machine", cell: "Cell", count: int) -> int:
    """Bytes of this process at its peak. Raises InputError where a card has less free than it needs."""
    from numerics.device.ensemble import chosen_engine
    from numerics.device.limits import probe_bytes
    from numerics.device.work import PRECISIONS, Work
    from numerics.run.machine import LIBRARIES
    from numerics.run.memory import loading
    from numerics.run.phase_run import model_of

    place, model, noise = machine.torch_device(), model_of(cell), cell.system.noise
    engine = chosen_engine(machine.device_engine, Work.of(model, batch=noise.batch, seed=noise.seed), place)
    need = machine.memory(model, noise, count) + probe_bytes(engine, place.type, PRECISIONS[machine.precision], count)
    host = LIBRARIES + loading(cell.system.settings)
    if place.type == "cpu":
        return host + need
    typer.echo(machine.require_memory(need))
    return host


def estimated(name: str, depth: float, shape: tuple[int, int], batch: int, precision: str) -> list[str]:
    """Registers, local memory, instructions and an estimate for an H200, by compiling alone."""
    from numerics.device import machine_code
    from numerics.device.work import PRECISIONS, Work
    from numerics.run.phase_run import model_of

    work = Work.of(model_of(_cell(name, depth, shape, batch)), batch=batch, seed=0)
    return machine_code.lines(machine_code.compiled(work, PRECISIONS[precision]))


def measured(ensemble: "Ensemble", place: "torch.device", least: float) -> dict[str, Any]:
    """Rate, counts and limits, with their ratios."""
    from numerics.device import limits

    b = ensemble.buffers
    steps, spent = _steady(ensemble, place, least)
    rate = steps * b.count / spent
    flops, traffic = limits.step_flops(ensemble.work), limits.step_bytes(ensemble, steps)
    found = limits.probe(ensemble.work, ensemble.engine_name, place, b.states.dtype, b.count, least)
    return {
        "device": _name(place),
        "engine": ensemble.engine_name,
        "precision": str(b.states.dtype).removeprefix("torch."),
        "replica_steps_per_second": rate,
        "steps_per_call": steps,
        "flops_per_step": flops,
        "bytes_per_step": traffic,
        "limits": {"flops": found.flops, "bytes": found.bandwidth, "samples": found.samples},
        "share_of_flops": rate * flops / found.flops,
        "share_of_bandwidth": rate * traffic / found.bandwidth,
        "time_over_generator": found.samples / (rate * ensemble.work.batch),
    }


def _steady(ensemble: "Ensemble", place: "torch.device", least: float) -> tuple[int, float]:
    """Steps of a call that lasts long enough to time, and the median of its time."""
    from numerics.device.limits import seconds
    from numerics.schedule import Constant

    steps = _STEPS_COUNTED
    while True:
        paces = ensemble.paces(Constant(1.0), steps)
        spent = seconds(partial(ensemble.engine.advance, 0, paces), place, 0.0)
        if spent >= least / 5:
            return steps, spent
        steps *= 2


def _name(place: "torch.device") -> str:
    import torch

    from numerics.provenance import machine

    return torch.cuda.get_device_name(place) if place.type == "cuda" else f"cpu ({machine()})"


def lines(record: dict[str, Any], sizes: dict[str, Any]) -> list[str]:
    """For the terminal."""
    limits = record["limits"]
    return [
        f"{record['device']}, engine {record['engine']}, {record['precision']}; "
        + ", ".join(f"{name} {value}" for name, value in sizes.items()),
        f"  {record['replica_steps_per_second']:.3g} replica-steps/s",
        f"  arithmetic: {record['flops_per_step']} flop a step counted, {record['share_of_flops']:.1%} of "
        f"{limits['flops']:.3g} flop/s of a matrix product",
        f"  memory: {record['bytes_per_step']:.4g} bytes a step counted, {record['share_of_bandwidth']:.1%} of "
        f"{limits['bytes']:.3g} bytes/s of a copy",
        f"  generator alone: {limits['samples']:.3g} samples/s; a step takes {record['time_over_generator']:.2f} times "
        "as long as its draws alone",
    ]
