"""`device-check`: all that a session with a card has to run, results in one folder: tests, speed, the diagram twice."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from numerics.run.options import Device

Out = Annotated[Path, typer.Option(help="folder for tests.txt, check.json and both diagrams")]
Small = Annotated[bool, typer.Option("--small", help="small problems and few replicas")]
Only = Annotated[str, typer.Option(help="tests, bench or diagram: that part alone, below ten minutes [all three]")]

_ROOT = Path(__file__).parents[2]
#: equal draws, equal steps: what rounding may make of a mean over 10^5 steps, relative
_ROUNDING = 1e-6
_COMPARED = ("rho", "loss", "diverged", "rho_replica")
_DIAGRAM = ("--replicas", "64", "--steps", "100000")
_MANY = ("--replicas", "4096", "--steps", "100000")
_SMALL = ("--small", "--replicas", "4", "--steps", "2000")
#: seconds after which tests, each of at most eight benches and each of at most three diagrams are stopped
_TESTS, _BENCH, _DIAGRAMS = 540, 70, 180
_PARTS = ("tests", "bench", "diagram")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("device-check")(command)


def command(device: Device = "cpu", out: Out = Path("out/device-check"), small: Small = False, only: Only = "") -> None:
    """Tests, speed and a phase diagram on a device. Speed of each engine and precision; the same diagram by numba."""
    from numerics.errors import InputError
    from numerics.files import write_json
    from numerics.provenance import provenance
    from numerics.run.machine import Machine
    from numerics.run.session import session

    started = time.perf_counter()
    if only not in ("", *_PARTS):
        raise InputError("only", only, "is no part of the check", f"give {', '.join(_PARTS)}")
    Machine(device, "torch", "float64", 1).torch_device()
    with session(out) as folder, tempfile.TemporaryDirectory() as work:
        parts: dict[str, Callable[[], Any]] = {
            "tests": lambda: _tests(device, folder.staging / "tests.txt"),
            "bench": lambda: _benches(device, Path(work), small),
            "diagram": lambda: _diagrams(device, Path(work), folder.staging, small),
        }
        found = {name: parts[name]() for name in _PARTS if only in ("", name)}
        made = provenance(seed=0, started=started, threads=os.cpu_count() or 1)
        write_json(
            folder.staging / "check.json", {"job": "device-check", "device": device, **found, "provenance": made}
        )
    typer.echo(json.dumps(found, indent=1))
    failed = [name for name in ("tests", "diagram") if name in found and not found[name]["passed"]]
    typer.echo(f"\nresult: {out / 'check.json'}" + (f"; FAILED: {', '.join(failed)}" if failed else "; all passed"))
    if failed:
        raise typer.Exit(3)


def _run(arguments: list[str], seconds: float) -> tuple[int, str]:
    """Exit code and output of a Python module; 124 and the output until then where it took too long."""
    command = [sys.executable, "-m", *arguments]
    try:
        done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        return 124, f"{(late.stdout or b'').decode()}\ntook longer than {seconds} s"
    return done.returncode, done.stdout.decode()


def _tests(device: str, file: Path) -> dict[str, Any]:
    from numerics.files import write_bytes

    code, text = _run(["pytest", "-q", "tests/device", "--device", device], _TESTS)
    write_bytes(file, text.encode())
    return {"passed": code == 0, "code": code, "last": text.strip().splitlines()[-1:]}


def _benches(device: str, work: Path, small: bool) -> list[dict[str, Any]]:
    """Each engine that the device has, at both precisions, Radial and Coordinatewise."""
    found = []
    for name in ("radial", "coordinatewise"):
        for engine in ("torch",) if device == "cpu" else ("torch", "triton"):
            for precision in ("float64", "float32"):
                out = work / f"{name}-{engine}-{precision}"
                options = ["--engine", engine, "--precision", precision, "--parametrization", name]
                options += ["--device", device, "--out", str(out), *(["--small"] if small else [])]
                code, text = _run(["numerics.run", "device-bench", *options], _BENCH)
                asked = {"parametrization": name, "engine": engine, "precision": precision}
                result = {"error": text[-500:]} if code else json.loads((out / "summary.json").read_text())
                found.append({**asked, **result})
    return found


def _diagrams(device: str, work: Path, staging: Path, small: bool) -> dict[str, Any]:
    """By numba and on the device with equal draws, compared; on a card another with many replicas."""
    from numerics.files import write_bytes

    runs = {
        "numba": ["--threads", str(os.cpu_count() or 1)],
        "device": ["--device", device, "--engine", "torch" if device == "cpu" else "auto"],
    }
    jobs = {name: [*options, *(_SMALL if small else _DIAGRAM)] for name, options in runs.items()}
    if device != "cpu":
        jobs["many"] = [*runs["device"], *_MANY]
    found: dict[str, Any] = {}
    for name, options in jobs.items():
        code, text = _run(["numerics.run", "phase-diagram", *options, "--out", str(work / name)], _DIAGRAMS)
        found[name] = {"code": code, "last": text.strip().splitlines()[-6:]}
        if code == 0:
            for kind in ("nc",) if name == "numba" else ("nc", "png"):  # its picture is the device's
                write_bytes(staging / f"{name}.{kind}", (work / name / f"phase-diagram.{kind}").read_bytes())
    found |= compared(staging / "numba.nc", staging / "device.nc")
    return found


def compared(first: Path, second: Path) -> dict[str, Any]:
    """The largest relative difference of each quantity over all cells, rho also over all replicas."""
    import xarray

    if not (first.exists() and second.exists()):
        return {"passed": False}
    with xarray.open_dataset(first, engine="h5netcdf") as a, xarray.open_dataset(second, engine="h5netcdf") as b:
        worst = {name: _difference(a[name].values, b[name].values) for name in _COMPARED}
        cells = int(a["rho"].size)
    return {"passed": all(value < _ROUNDING for value in worst.values()), "cells": cells, "largest_difference": worst}


def _difference(a: Any, b: Any) -> float:
    """Relative to the larger; infinite where only one of them is a number, or where shapes differ."""
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    size = np.maximum(np.abs(a), np.abs(b))
    return float(np.nanmax(np.where(size > 0, np.abs(a - b) / np.where(size > 0, size, 1), 0)))
