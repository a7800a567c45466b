"""What it takes to get the same bits again: versions, threads, seed, command."""

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import numerics

_LIBRARIES = ("numpy", "scipy", "torch", "matplotlib", "xarray", "h5netcdf", "scikit-learn", "mnist1d")


def provenance(*, seed: int, started: float) -> dict[str, object]:
    """Version, commit, command, seed, torch threads, library versions, machine, wall time since ``started``.

    ``started`` is a ``time.perf_counter()``. torch's bits depend on the thread count, so it is recorded here.
    """
    return {
        "version": numerics.__version__,
        "git": _commit(),
        "command": " ".join(["python -m numerics.run", *sys.argv[1:]]),
        "seed": seed,
        "torch_threads": torch.get_num_threads(),
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


def _commit() -> str | None:
    """The commit, marked where the checkout has changes; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
