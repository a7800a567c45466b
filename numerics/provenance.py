"""What it takes to get the same bits again: versions, threads, seed, arguments, and hashes of the files read."""

import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numerics
from numerics.hashes import sha256_of_file

#: arguments of the command line that is running, set by it
ARGUMENTS: ContextVar[Sequence[str]] = ContextVar("ARGUMENTS", default=())

_LIBRARIES = (
    "numpy", "scipy", "sympy", "numba", "torch", "matplotlib", "xarray", "h5netcdf", "scikit-learn", "mnist1d",
)  # fmt: skip


#: libraries that shape numbers; the others draw and write
_OF_NUMBERS = ("numpy", "scipy", "sympy", "numba")


def provenance(
    *, seed: int, started: float, threads: int, arguments: Sequence[str] | None = None, inputs: Iterable[str] = ()
) -> dict[str, object]:
    """Version, commit, command, seed, threads, library versions, machine, and wall time since ``started``.

    ``started`` is a ``time.perf_counter()``. numba's results do not depend on the threads, torch's bits do.
    ``arguments`` are those that `rerun` runs; without them those of the command line. ``inputs`` are the files read.
    """
    typed = ARGUMENTS.get() or sys.argv[1:]
    return {
        "version": numerics.__version__,
        "git": commit(),
        "command": shlex.join(["python", "-m", "numerics.run", *typed]),
        "arguments": list(typed if arguments is None else arguments),
        "inputs": hashed(inputs),
        "cwd": str(Path.cwd()),
        "seed": seed,
        "threads": threads,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": machine(),
        "wall_seconds": round(time.perf_counter() - started, 3),
    }


def origin(arguments: Sequence[str], inputs: Iterable[str] = ()) -> dict[str, object]:
    """The part of the provenance that equal runs share, for files whose bytes are compared. No clock, no place."""
    read = [{"given": entry["given"], "sha256": entry["sha256"]} for entry in hashed(inputs)]
    return {**versions(), "arguments": list(arguments), "inputs": read}


def versions(*others: str) -> dict[str, object]:
    """What must be equal on all machines for equal bits; ``others``: libraries that the numbers depend on as well."""
    return {"version": numerics.__version__, "libraries": {name: _version(name) for name in (*_OF_NUMBERS, *others)}}


def hashed(inputs: Iterable[str]) -> list[dict[str, str]]:
    """Each file as given, where it lies, and its SHA-256. Raises OSError."""
    return [{"given": name, "path": str(Path(name).resolve()), "sha256": sha256_of_file(Path(name))} for name in inputs]


def machine() -> str:
    """System and processor family."""
    return f"{platform.system()} {platform.machine()}"


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
