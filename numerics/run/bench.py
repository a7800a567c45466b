"""`bench`: speed of the engine and of starting up, beside the peers that are installed, each in its own process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from numerics.bench_peers import ENGINES, installed

Rounds = Annotated[int, typer.Option(help="measurements per engine, engines alternated")]
Seconds = Annotated[float, typer.Option(help="length of one measurement")]
Small = Annotated[bool, typer.Option("--small", help="one small workload, one round")]

#: name -> n, d, batch, replicas
WORKLOADS = {"W1": (20, 100, 1, 1024), "W2": (50, 1000, 1, 256), "W3": (200, 2000, 16, 64)}

_FIRST_RECORD = """
import numpy as np
from numerics.run.settings import validated
from numerics.run.system import make_system
from numerics.schedule import Constant
system = make_system(validated(job="phase2", out="out"))
system.path(Constant(system.eta), np.array([0, 1000]))
system.simulate(system.states_on_manifold(), Constant(system.eta), np.array([0, 1000]), lambda _: None)
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(rounds: Rounds = 5, seconds: Seconds = 1.0, small: Small = False) -> None:
    """Print how fast the engine is, beside the peers that are installed."""
    rounds, seconds = (1, 0.2) if small else (rounds, seconds)
    typer.echo(f"{os.cpu_count()} cores; ratios are medians of {rounds} alternated rounds, with their range\n")
    _start_up()
    _random_numbers()
    _growth(rounds, seconds)
    for name in ("W1",) if small else WORKLOADS:
        _workload(name, rounds, seconds)


def _run(code: list[str], environment: dict[str, str] | None = None) -> tuple[float, str]:
    begin = time.perf_counter()
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, *code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": root} | (environment or {}),
    )
    return time.perf_counter() - begin, done.stdout


def _start_up() -> None:
    """From the start of the process to the first record of the default phase2, with an empty cache and a full one."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {"LATEDECAY_CACHE": folder, "NUMBA_CACHE_DIR": folder}
        cold, _ = _run(["-c", _FIRST_RECORD], cache)
        cached, _ = _run(["-c", _FIRST_RECORD], cache)
    typer.echo(f"start to first record of phase2: {cold:.2f} s with an empty compile cache, {cached:.2f} s cached")


def _random_numbers() -> None:
    from numerics import streams

    count = 1 << 16
    words, scratch, normals = np.empty((4, 64), np.uint64), np.empty((2, 64)), np.empty((2, 64))
    streams.fill(np.uint64(1), np.uint64(2), 0, 0, 0, words, scratch, normals)
    begin = time.perf_counter()
    for block in range(0, count, 64):
        streams.fill(np.uint64(1), np.uint64(2), 0, 0, block, words, scratch, normals)
    spent = time.perf_counter() - begin
    each = spent / (2 * count) * 1e9
    typer.echo(f"random numbers: at most {each:.1f} ns per (normal, row) on one core, calls from Python included\n")


def _measure(engine: str, workload: tuple[int, int, int, int], seconds: float) -> dict[str, Any]:
    arguments = [str(value) for value in (*workload, seconds)]
    _, out = _run(["-m", "numerics.bench_peers", engine, *arguments])
    return dict(json.loads(out.splitlines()[-1]))


def _rounds(engines: list[str], workloads: list[tuple[int, int, int, int]], rounds: int, seconds: float) -> Any:
    """rate ``(engines, rounds)`` and mean loss ``(engines, rounds)``, alternated."""
    found = [[_measure(e, w, seconds) for e, w in zip(engines, workloads, strict=True)] for _ in range(rounds)]
    return np.array([[m["rate"] for m in row] for row in found]).T, np.array(
        [[m["loss"] for m in row] for row in found]
    ).T


def _growth(rounds: int, seconds: float) -> None:
    """Cost per step of the reduced kernel at d = 10^3 and 10^6."""
    workloads = [(20, 1000, 1, 64), (20, 10**6, 1, 64)]
    rate, _ = _rounds(["latedecay-reduced"] * 2, workloads, rounds, seconds)
    ratio = rate[0] / rate[1]
    typer.echo(f"cost per step at d = 10^6 over d = 10^3 (Radial, n = 20): {_interval(ratio)}\n")


def _interval(ratio: Any) -> str:
    return f"{np.median(ratio):.3g} [{np.min(ratio):.3g}, {np.max(ratio):.3g}]"


def _workload(name: str, rounds: int, seconds: float) -> None:
    n, d, batch, replicas = WORKLOADS[name]
    typer.echo(f"{name}: label-noise SGD, Radial depth 3, n={n} d={d} B={batch}, {replicas} replicas, float64")
    engines = [engine for engine in ENGINES if installed(engine)]
    rate, loss = _rounds(engines, [WORKLOADS[name]] * len(engines), rounds, seconds)
    best = {kind: max(_peers(engines, kind), key=lambda i: float(np.median(rate[i]))) for kind in ("full", "reduced")}
    typer.echo(f"  {'engine':18} {'replica-steps/s':>16}  {'mean loss':>10}")
    for i, engine in enumerate(engines):
        typer.echo(f"  {engine:18} {np.median(rate[i]):16.3g}  {np.mean(loss[i]):10.3g}")
    full, reduced = best["full"], best["reduced"]
    for label, mine, peer in (
        ("same algorithm, full d:", 1, full),
        ("same algorithm, reduced:", 0, reduced),
        ("ours reduced against full d:", 0, full),
    ):
        typer.echo(f"  {label:29} ours / {engines[peer]}: {_interval(rate[mine] / rate[peer])}")
    typer.echo("")


def _peers(engines: list[str], kind: str) -> list[int]:
    return [i for i, engine in enumerate(engines) if engine.endswith(kind) and not engine.startswith("latedecay")]
