"""Peak memory of a job from its settings, before anything is allocated: the arrays that grow, counted.

Jobs that train networks: `numerics.run.network_memory`.
"""

import csv
import zipfile
from pathlib import Path

import numpy as np

from numerics.data import MAX_HELD_OUT, MAX_HELD_OUT_ENTRIES
from numerics.run.settings import Settings, files_of
from numerics.run.simulate_options import SimulateSettings

PROBLEM_REMEDY = "lower --n or --features"
JOBS_REMEDY = "lower --jobs"
REMEDY = "lower --replicas, --records, --n or --features"

#: bytes of a process that has loaded everything a job loads and holds no large array: measured
BASE = 370 * 2**20
#: of that what is loaded only when results are written
_WRITERS = 120 * 2**20
#: the same of `advise`, which draws nothing, and of one process of `advise-check`
_ADVISE_BASE, _ADVISE_CHECK_BASE = 60 * 2**20, 335 * 2**20
#: rows that the packaged tables have
_TABLES = {"digits": 1797, "diabetes": 442}
#: copies alive at the peak, measured (tests/sweep/test_memory.py holds them to it)
_COPIES_LOADING = 3.2  # of the training rows: as read, as kept by Problem, and its row basis or a temporary
_COPIES_HELD_OUT = 2.1  # of the held-out rows: as read, as kept
_COPIES_KEPT = 2.0  # of the training rows: Problem keeps X and its row basis
_COPIES_RELABELLED = {"static": 2.1, "flips": 4.1}  # of the same, where `simulate` makes problems with other labels
_COPIES_OBSERVED = 15.0  # of (records x replicas): seven observables, the netCDF file in memory, temporaries
_COPIES_SIMULATED = 19.0  # the same of `simulate`, whose curves are copied once more with the laws'
_COPIES_PREDICTORS = 2.6  # of (replicas x columns): what an observation makes of the states
_COPIES_SIMULATED_PREDICTORS = 4.0
_CSV = 5  # a Python float in a list, in units of an array's
_FLOAT = 8


def peak(settings: Settings) -> int:
    """Bytes of the whole process at its peak, about; on a device with torch's libraries."""
    from numerics.run.machine import Machine

    records = _records(settings.job, settings.records)
    return max(loading(settings), standing(settings, numba=Machine.of(settings).numba) + observing(settings, records))


def observing(settings: Settings, records: float) -> int:
    """Bytes of the replicas, of so many records of each, and of what making a record takes, about."""
    n, d, _ = shape(settings)
    simulated = isinstance(settings, SimulateSettings)
    observed = (_COPIES_SIMULATED if simulated else _COPIES_OBSERVED) * records
    parameters, columns = _widths(settings, n, d)
    states = (10 if settings.job == "late-decay" else 1) * parameters  # late-decay keeps those of the branches
    predictors = (_COPIES_SIMULATED_PREDICTORS if simulated else _COPIES_PREDICTORS) * columns
    return int(_FLOAT * settings.replicas * (observed + states + predictors))


def standing(settings: Settings, *, numba: bool) -> int:
    """Bytes of a process that has loaded all that it needs and keeps the problem, about, and has no replica."""
    from numerics.run.machine import LIBRARIES

    n, d, held_out = shape(settings)
    relabelled = _COPIES_RELABELLED.get(settings.noise, 0.0) if isinstance(settings, SimulateSettings) else 0.0
    kept = (_COPIES_KEPT + relabelled) * n * d + held_out * d
    return int(BASE + (0 if numba else LIBRARIES) + _FLOAT * kept)


def loading(settings: Settings) -> int:
    """Bytes of the process while the problem is loaded, about: before any replica is there."""
    return BASE - _WRITERS + _loading(settings.data, *shape(settings))


def advise(settings: Settings) -> int:
    """Bytes of the process of `advise`, about: it loads a problem, and little else."""
    return _ADVISE_BASE + _loading(settings.data, *shape(settings))


def advise_check(jobs: int) -> int:
    """Bytes of all processes of `advise-check`, about; its problems are small."""
    return _ADVISE_CHECK_BASE * (jobs if jobs == 1 else jobs + 1)


def _widths(settings: Settings, n: int, d: int) -> tuple[int, int]:
    """Numbers of one replica's state and of its predictor: n + 2 where paths stay in the rows' span."""
    if settings.parametrization != "radial":
        return d * (2 if settings.parametrization.startswith("diagonal") else 1), d
    outside = isinstance(settings, SimulateSettings) and settings.noise in ("isotropic", "dropout")
    return (d, d) if outside else (n + 2, n + 2)


def _loading(data: str, n: int, d: int, held_out: int) -> int:
    """Bytes alive while a problem is loaded."""
    return int(_FLOAT * ((_COPIES_LOADING * n + _COPIES_HELD_OUT * held_out) * d + _read(data)))


def shape(settings: Settings) -> tuple[int, int, int]:
    """Training rows, columns and held-out rows that the settings lead to; files are asked for their headers alone."""
    data, rows, features = settings.data, settings.rows, settings.features
    if rows is None or files_of(data):
        there, columns, separate = _file(Path(data))
        columns, rows = features or columns, min(rows or there, there)
        return rows, columns, separate or _held_out(there - rows, columns)
    if data == "gaussian":
        return rows, features or 4 * rows, 0
    columns = features or (max(200, 4 * rows) if data == "diabetes" else 64)
    return rows, columns, _held_out(_TABLES.get(data, 0) - rows, columns)


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
        columns = len(next(filter(None, csv.reader(lines)), []))
        return max(sum(1 for _ in lines), 1), max(columns, 1), 0


def _read(data: str) -> int:
    """Numbers of a whole file that are in memory beside the rows in use; text passes through Python's floats."""
    if not files_of(data):
        return 0
    rows, columns, separate = _file(Path(data))
    return (rows + separate) * columns * (_CSV if data.lower().endswith(".csv") else 1)


def _records(job: str, records: int) -> float:
    """Records that a job takes for the option --records."""
    return {"phase1": 2.5, "phase2": 1.0, "phase3": 1.5, "late-decay": 1.0}.get(job, 1.0) * records
