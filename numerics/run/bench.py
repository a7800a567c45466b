"""`bench`: speed of the engine beside its peers on the same problem at the same precision, each in its own process."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from numerics.bench import compare
from numerics.bench.machine import probes
from numerics.bench.page import Page
from numerics.bench.problem import WORKLOADS, Workload
from numerics.bench.worker import OURS, PEERS, engines, installed
from numerics.errors import InputError
from numerics.files import write_bytes, write_json
from numerics.provenance import provenance
from numerics.run.session import session

Names = Annotated[str, typer.Option(help="workloads, W1 to W5, with commas, or all")]
Peers = Annotated[str, typer.Option(help=f"peers, with commas, or all: {', '.join(PEERS)}")]
Rows = Annotated[int | None, typer.Option(help="training rows, instead of the workload's")]
Columns = Annotated[int | None, typer.Option(help="dimension, instead of the workload's")]
Batch = Annotated[int | None, typer.Option(help="batch size, instead of the workload's")]
Replicas = Annotated[int | None, typer.Option(help="replicas, instead of the workload's")]
Precision = Annotated[str, typer.Option(help="float64 or float32, of ours and of the peers")]
Rounds = Annotated[int, typer.Option(help="measurements per engine, engines alternated, a seed each")]
Seconds = Annotated[float, typer.Option(help="length of one measurement")]
Threads = Annotated[int, typer.Option(help="ours; 0: as many as cores")]
Limit = Annotated[float, typer.Option(help="seconds after which a peer is given up, compilation included")]
Small = Annotated[
    bool, typer.Option("--small", help="about a minute: two short rounds; for all, W1 and W4 with NumPy and JAX")
]
Out = Annotated[Path, typer.Option(help="folder for bench.json and bench.txt")]

#: what --small measures where nothing is chosen
_SMALL_WORKLOADS, _SMALL_PEERS = ["W1", "W4"], ["numpy", "jax"]

_FIRST_RECORD = """
import numpy as np
from numerics.run.settings import validated
from numerics.run.system import make_system
from numerics.schedule import Constant
system = make_system(validated(job="phase2", out="out"))
system.simulate(system.states_on_manifold(), Constant(system.eta), np.array([0, 1000]), lambda _: None)
"""
_FIRST_RESULT = """
import time
begin = time.perf_counter()
import numerics.dynamics, numerics.problem, numerics.sde, numerics.sgd, numerics.start, theory.parametrization
from numerics.bench.problem import WORKLOADS
from numerics.bench.worker import ours
imported = time.perf_counter()
ours(WORKLOADS["W1"], 0, True, 1)(10)()
print(imported - begin, time.perf_counter() - imported)
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    workloads: Names = "all",
    peers: Peers = "all",
    n: Rows = None,
    d: Columns = None,
    batch: Batch = None,
    replicas: Replicas = None,
    precision: Precision = "float64",
    rounds: Rounds = 5,
    seconds: Seconds = 1.0,
    threads: Threads = 0,
    limit: Limit = 300.0,
    small: Small = False,
    out: Out = Path("out/bench"),
) -> None:
    """Speed of the engine beside its peers'. Prints, and writes bench.json and bench.txt."""
    started = time.perf_counter()
    sizes = {"n": n, "d": d, "batch": batch, "replicas": replicas}
    chosen = {
        name: _resized(WORKLOADS[name], sizes, precision)
        for name in _chosen("workloads", workloads, WORKLOADS, _SMALL_WORKLOADS if small else None)
    }
    rivals = tuple(_chosen("peers", peers, PEERS, _SMALL_PEERS if small else None))
    if small:
        rounds, seconds = min(rounds, 2), min(seconds, 0.4)
    _require("rounds", rounds, 1)
    _require("seconds", seconds, 0.01)
    with session(out) as folder:
        page = Page()
        result: dict[str, Any] = {"machine": probes(precision), "start": start_up(), "peers": _peer_states(rivals)}
        page.machine(result)
        here = tuple(peer for peer in rivals if installed(peer))
        result["workloads"] = {}
        for name, workload in chosen.items():
            result["workloads"][name] = one = measure(workload, here, rounds, seconds, threads, limit)
            page.workload(name, workload, one, result["machine"])
        if not small:
            result["growth"] = growth(next(iter(chosen.values())), seconds, threads, limit)
            page.growth(result["growth"])
        result["provenance"] = provenance(seed=0, started=started, threads=threads)
        write_json(folder.staging / "bench.json", result)
        write_bytes(folder.staging / "bench.txt", "\n".join(page.lines).encode())
    typer.echo(f"written: {out / 'bench.json'}, {out / 'bench.txt'}")


def _chosen(option: str, given: str, known: dict[str, Any], few: list[str] | None) -> list[str]:
    if given == "all":
        return few or list(known)
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names or [given]:
        if name not in known:
            raise InputError(option, name, f"is not one of {', '.join(known)}", "give one or more of them, with commas")
    return names


def _require(option: str, value: float, least: float) -> None:
    if not value >= least:
        raise InputError(option, value, f"is below {least:g}", f"give at least {least:g}")


def _resized(workload: Workload, sizes: dict[str, int | None], precision: str) -> Workload:
    given = {name: value for name, value in sizes.items() if value is not None}
    for name, value in given.items():
        _require(name, value, 2 if name == "replicas" else 1)
    if precision not in compare.AGREEMENT:
        raise InputError("precision", precision, "is not float64 or float32", "give one of them")
    changed = Workload(**(workload.as_dict() | given))
    if changed.n >= changed.d:
        raise InputError("n", changed.n, f"is not below d = {changed.d}", "give fewer rows or more columns")
    if precision == "float32" and workload.kind == "separable":
        return changed  # no float32 kernel: said in the table by its precision
    return replace(changed, precision=precision)


def _peer_states(peers: tuple[str, ...]) -> dict[str, str]:
    return {peer: "installed" if installed(peer) else "not installed" for peer in peers}


def measure(
    workload: Workload, peers: tuple[str, ...], rounds: int, seconds: float, threads: int, limit: float
) -> dict[str, Any]:
    """Check, then time, one workload."""
    gap = compare.paths_agree(workload)
    compared = compare.losses(engines(workload.kind, peers, workload.precision), workload, threads, limit)
    z = compare.same_loss(compared)
    found = compare.rounds(compare.ran(compared), workload, rounds, seconds, threads, limit)
    return {
        "workload": workload.as_dict(),
        "paths_differ": gap,
        "loss_z": z,
        "rounds": {engine: found.get(engine, compared[engine]) for engine in compared},
        "comparisons": compare.comparisons(found, workload.kind),
    }


def growth(workload: Workload, seconds: float, threads: int, limit: float) -> list[dict[str, Any]]:
    """Our rate as n, d and the replicas grow, the rest as given."""
    engine = f"{OURS} {'full' if workload.kind == 'separable' else 'reduced'}"
    variants = [("n", replace(workload, n=n, d=max(workload.d, 2 * n))) for n in (10, 40, 160, 640)]
    variants += [("d", replace(workload, d=max(d, workload.n + 1))) for d in (100, 1000, 10_000, 100_000)]
    variants += [("replicas", replace(workload, replicas=r)) for r in (16, 256, 4096)]
    rows = []
    for name, variant in variants:
        found = compare.call(engine, variant, seconds=seconds, seeds=[0], threads=threads, limit=limit)
        rows.append({"grows": name, "value": getattr(variant, name)} | found)
    return rows


def start_up() -> dict[str, float]:
    """Seconds of a process: phase2's first record and W1's first result, with an empty compile cache and a full one."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {"LATEDECAY_CACHE": folder, "NUMBA_CACHE_DIR": folder}
        cold, _ = _python(_FIRST_RECORD, cache)
        cached, _ = _python(_FIRST_RECORD, cache)
        _python(_FIRST_RESULT, cache)
        imported, result = _python(_FIRST_RESULT, cache)[1].split()
    return {"cold": cold, "cached": cached, "import": float(imported), "first_result_after_import": float(result)}


def _python(code: str, environment: dict[str, str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=compare.ROOT,
        env=os.environ | {"PYTHONPATH": compare.ROOT} | environment,
    )
    return time.perf_counter() - begin, done.stdout
