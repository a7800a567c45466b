"""Peak memory of a job from its settings, before anything is allocated: the arrays that grow, counted."""

import csv
import zipfile
from pathlib import Path

import numpy as np

from numerics.data import MAX_HELD_OUT, MAX_HELD_OUT_ENTRIES
from numerics.run.settings import Settings

REMEDY = "lower --replicas, --records, --n or --features"

#: bytes of a process that has loaded everything a job loads and holds no large array: measured
BASE = 370 * 2**20
#: of that what is loaded only when results are written
_WRITERS = 120 * 2**20
#: rows that the packaged tables have
_TABLES = {"digits": 1797, "diabetes": 442}
#: copies alive at the peak, measured (tests/sweep/test_memory.py holds them to it)
_COPIES_LOADING = 3.2  # of the training rows: as read, as kept by Problem, and its row basis or a temporary
_COPIES_HELD_OUT = 2.1  # of the held-out rows: as read, as kept
_COPIES_KEPT = 2.0  # of the training rows: Problem keeps X and its row basis
_COPIES_OBSERVED = 15.0  # of (records x replicas): seven observables, the netCDF file in memory, temporaries
_COPIES_STATES = 6.0  # of (replicas x parameters): states, and the predictors that an observation makes of them
_CSV = 5  # a Python float in a list, in units of an array's
_FLOAT = 8


def peak(settings: Settings) -> int:
    """Bytes of the whole process at its peak, about."""
    n, d, held_out = shape(settings)
    radial = settings.parametrization == "radial"
    branches = 9 if settings.job == "late-decay" else 0
    records = _records(settings.job, settings.records)
    loading = (_COPIES_LOADING * n + _COPIES_HELD_OUT * held_out) * d + _read(settings)
    kept = _COPIES_KEPT * n * d + held_out * d
    observed = _COPIES_OBSERVED * records * settings.replicas
    states = (_COPIES_STATES + branches) * settings.replicas * (n + 2 if radial else d * _factors(settings))
    return int(max(BASE - _WRITERS + _FLOAT * loading, BASE + _FLOAT * (kept + observed + states)))


def shape(settings: Settings) -> tuple[int, int, int]:
    """Training rows, columns and held-out rows that the settings lead to; files are asked for their headers alone."""
    n = settings.n or 20
    if settings.small and settings.data in (*_TABLES, "gaussian"):
        n = min(n, 8)
    if settings.data == "gaussian":
        return n, settings.features or 4 * n, 0
    if settings.data in _TABLES:
        columns = settings.features or (64 if settings.data == "digits" else max(200, 4 * n))
        return n, columns, _held_out(_TABLES[settings.data] - n, columns)
    rows, columns, separate = _file(Path(settings.data))
    columns = settings.features or columns
    n = min(settings.n or rows, rows)
    return n, columns, separate or _held_out(rows - n, columns)


def _held_out(left: int, columns: int) -> int:
    return max(0, min(left, MAX_HELD_OUT, int(MAX_HELD_OUT_ENTRIES / columns)))


def _file(path: Path) -> tuple[int, int, int]:
    """Rows, columns and separate test rows of a file; ones where it cannot be read: loading it will say why."""
    try:
        return _npz(path) if path.suffix.lower() == ".npz" else _csv(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, csv.Error):
        return 1, 1, 0


def _npz(path: Path) -> tuple[int, int, int]:
    with zipfile.ZipFile(path) as archive:
        sizes = {name: _npy_shape(archive, name) for name in ("X", "X_test") if f"{name}.npy" in archive.namelist()}
    rows, columns = sizes["X"]
    return rows, columns, sizes.get("X_test", (0, 0))[0]


def _npy_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found: tuple[int, ...] = read(stream)[0]
    return found


def _csv(path: Path) -> tuple[int, int, int]:
    with open(path, newline="", encoding="utf-8-sig") as lines:
        columns = len(next(csv.reader(lines)))
        return sum(1 for _ in lines), columns, 0


def _read(settings: Settings) -> int:
    """Numbers of a whole file that are in memory beside the rows in use; text passes through Python's floats."""
    if not settings.inputs:
        return 0
    rows, columns, separate = _file(Path(settings.data))
    return (rows + separate) * columns * (_CSV if settings.data.lower().endswith(".csv") else 1)


def _factors(settings: Settings) -> int:
    return 2 if settings.parametrization.startswith("diagonal") else 1


def _records(job: str, records: int) -> float:
    """Records that a job takes for the option --records."""
    return {"phase1": 2.5, "phase2": 1.0, "phase3": 1.5, "late-decay": 1.0}.get(job, 1.0) * records
