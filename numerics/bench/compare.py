"""Rounds of alternated measurements, ratios with their intervals, and what has to hold before anything is timed."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from numerics.bench.problem import Workload
from numerics.bench.worker import COMPARED_AFTER, OURS, ours

FloatArray = npt.NDArray[np.float64]
Found = dict[str, list[dict[str, float]]]

ROOT = str(Path(__file__).parents[2])
#: reduced and full paths on the same draws may differ by this much, relative to the largest loss
AGREEMENT = {"float64": 1e-9, "float32": 1e-3}
#: seeds of the losses that are compared before anything is timed, none of a round's
LOSS_SEEDS = (1000, 1001, 1002)
#: standard errors of a difference of mean losses above which engines do not run the same process: 1e-5 two-sided
Z_LOSS = 4.4


def call(
    engine: str, workload: Workload, *, seconds: float, seeds: Sequence[int], threads: int, limit: float
) -> dict[str, Any]:
    """One measurement in a process of its own, of the first seed, and the mean loss of all.

    With seconds = 0 losses alone; {"error": ...} where the peer fails or takes longer than the limit.
    """
    order = {"engine": engine, "workload": workload.as_dict(), "seconds": seconds, "seeds": seeds, "threads": threads}
    command = [sys.executable, "-m", "numerics.bench.worker", json.dumps(order)]
    environment = os.environ | {"PYTHONPATH": ROOT}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:.0f} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def paths_agree(workload: Workload, seed: int = 0) -> float:
    """Largest difference of losses between reduced and full paths on the same draws, relative to the largest loss.

    The full path is float64 whatever the workload's precision. Raises RuntimeError beyond `AGREEMENT`.
    """
    if workload.kind == "separable":
        return 0.0
    small = replace(workload, replicas=min(workload.replicas, 16))
    reduced = ours(small, seed, True, 1)(COMPARED_AFTER)()
    full = ours(replace(small, precision="float64"), seed, False, 1)(COMPARED_AFTER)()
    gap = float(np.max(np.abs(reduced - full)) / np.max(full))
    if not gap <= AGREEMENT[workload.precision]:
        raise RuntimeError(f"reduced and full paths differ by {gap:.2g} on the same draws: {workload}")
    return gap


def losses(engines: Sequence[str], workload: Workload, threads: int, limit: float) -> Found:
    """Every engine's mean loss over `LOSS_SEEDS`, or its error: one row each."""
    return {e: [call(e, workload, seconds=0.0, seeds=LOSS_SEEDS, threads=threads, limit=limit)] for e in engines}


def rounds(engines: Sequence[str], workload: Workload, count: int, seconds: float, threads: int, limit: float) -> Found:
    """count measurements of every engine, alternated; a round is one seed. Engines that fail keep their error."""
    found: Found = {engine: [] for engine in engines}
    for seed in range(count):
        for engine in engines:
            if not (found[engine] and "error" in found[engine][-1]):
                row = call(engine, workload, seconds=seconds, seeds=[seed], threads=threads, limit=limit)
                found[engine].append(row)
    return found


def ran(found: Found) -> list[str]:
    """Engines without an error."""
    return [engine for engine, rows in found.items() if rows and not any("error" in row for row in rows)]


def same_loss(found: Found) -> dict[str, float]:
    """z of each engine's mean loss over the seeds against ours. Raises RuntimeError where one is beyond `Z_LOSS`."""
    names = ran(found)
    means, errors = ({e: found[e][0][part] for e in names} for part in ("loss", "sem"))
    own = next(e for e in names if e.startswith(OURS))
    z = {e: (means[e] - means[own]) / float(np.hypot(errors[e], errors[own])) for e in names if e != own}
    for engine, value in z.items():
        if not abs(value) <= Z_LOSS:
            raise RuntimeError(
                f"{engine}: mean loss {means[engine]:.4g}, ours {means[own]:.4g}: {value:.1f} standard errors"
            )
    return z


def geometric_interval(values: FloatArray) -> tuple[float, float, float]:
    """Geometric mean of ratios, and its 95 % interval by Student's t over the rounds; NaN ends with one round."""
    logs = np.log(values)
    middle = float(np.exp(np.mean(logs)))
    if len(logs) < 2:
        return middle, float("nan"), float("nan")
    half = float(stdtrit(len(logs) - 1, 0.975)) * float(np.std(logs, ddof=1)) / np.sqrt(len(logs))
    return middle, float(middle * np.exp(-half)), float(middle * np.exp(half))


def ratio(found: Found, mine: str, peer: str, measure: str) -> dict[str, Any]:
    """Ours over the peer's speed, by wall time or by CPU time, over the rounds."""
    values = np.array([b[measure] / a[measure] for a, b in zip(found[mine], found[peer], strict=True)])
    middle, low, high = geometric_interval(values)
    return {"ratio": middle, "low": low, "high": high}


def fastest(found: Found, form: str) -> str | None:
    """The fastest peer of a form, "full" or "reduced", by median rate."""
    names = [e for e in ran(found) if e.endswith(form) and not e.startswith(OURS)]
    return max(names, key=lambda e: float(np.median([row["rate"] for row in found[e]])), default=None)


def comparisons(found: Found, kind: str) -> list[dict[str, Any]]:
    """Ratios of kind "engine", the same algorithm on both sides, and "engine + reduction", ours alone being reduced."""
    forms = ("full",) if kind == "separable" else ("full", "reduced")
    own = [form for form in forms if f"{OURS} {form}" in found]
    pairs = [("engine", f"{OURS} {form}", peer) for form in own if (peer := fastest(found, form))]
    special = [e for e in ran(found) if e in ("torchsde full", "diffrax full")]
    full = [fastest(found, "full"), *special] if kind != "separable" else []
    pairs += [("engine + reduction", f"{OURS} reduced", peer) for peer in dict.fromkeys(full) if peer]
    return [
        {"kind": label, "ours": mine, "peer": peer}
        | {measure: ratio(found, mine, peer, measure) for measure in ("wall", "cpu")}
        for label, mine, peer in pairs
    ]
