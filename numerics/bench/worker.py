"""One engine of `bench` in a process of its own: `python -m numerics.bench.worker JSON` writes one line of JSON."""

import importlib.util
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from numerics.bench.peers import Losses, Run, compiled_engine, jax_engine, numpy_engine, rbg_engine, torch_engine
from numerics.bench.problem import SIGMA, Task, Workload, make_task
from numerics.bench.sde import diffrax_engine, torchsde_engine

Engine = Callable[[str, Task], Run]

OURS = "latedecay"
#: name -> engine, the library it needs, the kinds it takes
PEERS: dict[str, tuple[Engine, str, tuple[str, ...]]] = {
    "numpy": (numpy_engine, "numpy", ("sgd", "sde", "separable")),
    "torch": (torch_engine, "torch", ("sgd", "sde", "separable")),
    "torch.compile": (compiled_engine, "torch", ("sgd", "sde", "separable")),
    "jax": (jax_engine, "jax", ("sgd", "sde", "separable")),
    "jax-rbg": (rbg_engine, "jax", ("sgd", "sde", "separable")),
    "torchsde": (torchsde_engine, "torchsde", ("sde",)),
    "diffrax": (diffrax_engine, "diffrax", ("sde",)),
}

#: steps after which the engines' mean losses are compared
COMPARED_AFTER = 60


def installed(peer: str) -> bool:
    """Whether the peer's library is here."""
    return importlib.util.find_spec(PEERS[peer][1]) is not None


def engines(kind: str, peers: tuple[str, ...], precision: str = "float64") -> list[str]:
    """Engines for a kind: ours and the peers', "reduced" (C12) and "full"; Coordinatewise has no reduction, and ours at
    full dimension no float32.
    """
    forms = ("full",) if kind == "separable" else ("reduced", "full")
    names = [OURS, *(peer for peer in peers if kind in PEERS[peer][2])]
    found = [f"{name} {form}" for name in names for form in forms]
    return [engine for engine in found if precision == "float64" or engine != f"{OURS} full"]


def ours(workload: Workload, seed: int, reduced: bool, threads: int) -> Run:
    """latedecay's kernels."""
    from numerics.sgd import Noise, advance

    task = make_task(workload, seed, reduced=False)
    model = our_model(workload, task, reduced)
    states, at = model.start(task.u, workload.replicas), 0

    def run(steps: int) -> Losses:
        nonlocal at
        with ThreadPoolExecutor(threads) as pool:
            etas = np.full(steps, task.eta)
            advance(pool, threads, model, states, np.arange(len(states)), etas, Noise(workload.batch, SIGMA, seed), at)
        at += steps
        return lambda: np.asarray(model.observe(states)["loss"])

    return run


def our_model(workload: Workload, task: Task, reduced: bool) -> Any:
    """The model of a workload's kind."""
    from numerics.problem import Problem
    from theory.parametrization import named

    problem, scale = Problem(task.X, task.y), 10 * float(np.linalg.norm(task.u)) ** 3
    if workload.kind == "separable":
        from numerics.sgd import SeparableSGD

        return SeparableSGD(problem, named("coordinatewise", 3), scale)  # type: ignore[arg-type]
    return _radial_model(workload, task, problem, scale, reduced)


def _radial_model(workload: Workload, task: Task, problem: Any, scale: float, reduced: bool) -> Any:
    from numerics.dynamics import EulerMaruyama
    from numerics.sde import ReducedEulerMaruyama
    from numerics.sgd import FullRadialSGD, RadialSGD
    from numerics.start import null_direction
    from theory.parametrization import Radial, named

    shape = named("radial", 3)
    assert isinstance(shape, Radial)
    if not reduced:
        if workload.kind == "sde":
            return EulerMaruyama(problem, shape, scale, task.eta, False)
        return FullRadialSGD(problem, shape, scale)
    plane = problem.reduced(null_direction(problem, 0, task.u))
    if workload.kind == "sde":
        return ReducedEulerMaruyama(plane, shape, scale, workload.precision, eta=task.eta)
    return RadialSGD(plane, shape, scale, workload.precision)


def make_run(engine: str, workload: Workload, seed: int, threads: int) -> Run:
    """An engine, at its start."""
    name, form = engine.split(" ")
    if name == OURS:
        return ours(workload, seed, form == "reduced", threads)
    return PEERS[name][0](workload.kind, make_task(workload, seed, form == "reduced"))


def measure(run: Run, replicas: int, seconds: float) -> dict[str, float]:
    """Replica-steps per second over about the given time; wall and CPU seconds of a million replica-steps."""
    steps = COMPARED_AFTER
    while True:  # calls of one length, so that compiled engines compile it once, outside the clock
        run(steps)
        begin, cpu = time.perf_counter(), time.process_time()
        run(steps)
        wall, busy = time.perf_counter() - begin, time.process_time() - cpu
        if wall > seconds / 2:
            million = replicas * steps / 1e6
            return {"rate": replicas * steps / wall, "wall": wall / million, "cpu": busy / million}
        steps = int(steps * min(max(seconds / max(wall, 1e-3), 2), 50))


def peak_memory() -> float:
    """Bytes. Linux's ru_maxrss includes the parent's from before exec, so that the kernel's own mark is read there."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024.0 * int(re.findall(r"VmHWM:\s*(\d+)", status.read_text())[0])
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure one engine, print one line."""
    begin = time.perf_counter()
    order = json.loads(sys.argv[1])
    workload, engine = Workload(**order["workload"]), order["engine"]
    threads = order["threads"] or os.cpu_count() or 1
    first, *others = (make_run(engine, workload, seed, threads) for seed in order["seeds"])
    losses = [first(COMPARED_AFTER)()]
    ready = time.perf_counter() - begin
    losses += [run(COMPARED_AFTER)() for run in others]
    sems = [np.std(loss, ddof=1) / np.sqrt(len(loss)) for loss in losses]
    found = {"loss": float(np.mean(losses)), "sem": float(np.linalg.norm(sems) / len(sems)), "ready": ready}
    if order["seconds"] > 0:
        found |= measure(first, workload.replicas, order["seconds"])
    found["peak_mb"] = peak_memory() / 1e6
    print(json.dumps(found))


if __name__ == "__main__":
    main()
