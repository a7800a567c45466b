"""What it takes to get the same bits again: versions, threads, seed, command."""

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numerics

_LIBRARIES = (
    "numpy", "scipy", "sympy", "numba", "torch", "matplotlib", "xarray", "h5netcdf", "scikit-learn", "mnist1d",
)  # fmt: skip


def provenance(*, seed: int, started: float, threads: int) -> dict[str, object]:
    """Version, commit, command, seed, threads, library versions, machine, and wall time since ``started``.

    ``started`` is a ``time.perf_counter()``. numba's results do not depend on the threads, torch's bits do.
    """
    return {
        "version": numerics.__version__,
        "git": commit(),
        "command": " ".join(["python -m numerics.run", *sys.argv[1:]]),
        "seed": seed,
        "threads": threads,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "wall_seconds": round(time.perf_counter() - started, 3),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout, marked where it has changes; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
