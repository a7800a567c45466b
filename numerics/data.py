"""Real and made-up inputs as problems: digits, diabetes, gaussian, ``.npz`` and ``.csv`` files.

Rows, random features and corruptions are drawn from streams addressed by the seed. scikit-learn's tables are read
from the files it installs: importing scikit-learn costs a second, and a job has to start faster than that.
"""

import csv
import difflib
import gzip
import importlib.util
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.problem import Problem, finite_array
from numerics.start import generator

FloatArray = npt.NDArray[np.float64]

NAMES = ("digits", "diabetes", "gaussian")
MAX_HELD_OUT = 500
MAX_HELD_OUT_ENTRIES = 5e7


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows ``X (n, d)`` and labels ``y (n,)`` on their way to a Problem, with whatever came with them."""

    X: FloatArray
    y: FloatArray
    name: str
    units: str = ""
    w_star: FloatArray | None = None
    X_test: FloatArray | None = None
    y_test: FloatArray | None = None
    u0: FloatArray | None = None


def load(
    spec: str | os.PathLike[str],
    *,
    n: int | None,
    seed: int,
    features: int | None = None,
    target: str | None = None,
    corruption: float = 0.0,
) -> Problem:
    """The problem with ``n`` training rows of the data called ``spec``.

    - ``digits``: 1797 images of 8 x 8 pixels scaled to [0, 1]. Target "parity" (default; +1 even, -1 odd) or "class",
      the digit as (digit - 4.5)/sqrt(8.25): mean 0 and variance 1 over the ten classes. Rows left over are held out.
    - ``diabetes``: 442 patients, 10 columns and the target each standardised over all patients, lifted to
      max(200, 4n) random Fourier features unless ``features`` says otherwise. Rows left over are held out.
    - ``gaussian``: X iid N(0, 1) with d = ``features`` (default 4n), a uniformly random teacher w_star of norm 1.
    - ``*.npz``: ``X (rows, d)``, with ``y`` or ``w_star`` (then y = X w_star) or both, optionally ``u0``, ``X_test``,
      ``y_test``. ``n=None`` takes all rows in their order; with fewer and neither w_star nor X_test, the rest is
      held out.
    - ``*.csv``: a header and numbers, ``target`` names the column of y; rows as for ``.npz``. Columns are not rescaled.

    ``features`` > 0 maps rows to random Fourier features sqrt(2/features) cos(W x + b), with W of the median distance
    between training rows; 0 keeps the columns as they are. ``corruption`` is the standard deviation of a fixed error
    added once to the training labels. At most 500 rows are held out, fewer where d exceeds 10^5.

    Raises InputError for whatever does not make a valid problem.
    """
    _check_numbers(n, features, corruption)
    rows, features = _read(spec, n, seed, features, target)
    rows = _lifted(_drawn(rows, n, seed, features or rows.X.shape[1]), features, seed)
    error = corruption * generator(seed, "label corruption").standard_normal(len(rows.y)) if corruption else 0.0
    return Problem(
        rows.X,
        rows.y + error,
        w_star=rows.w_star,
        X_test=rows.X_test,
        y_test=rows.y_test,
        u0=rows.u0,
        name=rows.name,
        units=rows.units,
    )


def random_fourier_features(points: FloatArray, count: int, bandwidth: float, seed: int) -> FloatArray:
    """sqrt(2/count) cos(W x + b) of ``points (m, k)``, shape ``(m, count)``; W ~ N(0, 1/bandwidth^2), b ~ U[0, 2 pi).

    Inner products approach exp(-|x - x'|^2 / (2 bandwidth^2)) as count grows (Rahimi, Recht 2007).
    """
    draw = generator(seed, "random Fourier features")
    weights = draw.standard_normal((points.shape[1], count)) / bandwidth
    phases = draw.uniform(0.0, 2 * np.pi, count)
    return np.asarray(np.sqrt(2 / count) * np.cos(points @ weights + phases))


def median_distance(points: FloatArray) -> float:
    """Median of the distances between different rows of ``points (m, k)``; 1 where there are none but zeros."""
    square = np.sum(points**2, axis=1)
    squares = square[:, None] + square[None, :] - 2 * points @ points.T
    distances = np.sqrt(np.maximum(squares[np.triu_indices(len(points), 1)], 0.0))
    distances = distances[distances > 1e-7 * np.sqrt(square.max(initial=0.0))]
    return float(np.median(distances)) if distances.size else 1.0


def _check_numbers(n: int | None, features: int | None, corruption: float) -> None:
    if n is not None and n < 1:
        raise InputError("n", n, "is not a number of rows", "give at least 1")
    if features is not None and features < 0:
        raise InputError("features", features, "is negative", "give 0 for the columns as they are")
    if not (np.isfinite(corruption) and corruption >= 0):
        raise InputError("corruption", corruption, "is not a standard deviation", "give 0 or a positive number")


def _read(
    spec: str | os.PathLike[str], n: int | None, seed: int, features: int | None, target: str | None
) -> tuple[_Rows, int | None]:
    """All rows of the named data or file, and the number of random features to lift them to."""
    name = os.fspath(spec)
    suffix = Path(name).suffix.lower()
    if name not in NAMES and suffix == ".csv":
        return _csv(Path(name), target), features
    if name != "digits" and target is not None:
        raise InputError("target", target, f"has no meaning for {name}", "leave it out")
    if name not in NAMES and suffix == ".npz":
        return _npz(Path(name), features), features
    if name not in NAMES:
        raise _unknown(name)
    if n is None:
        raise InputError("n", n, f"is no number of rows of {name}", "say how many to train on")
    if name == "digits":
        return _digits(target), features
    if name == "diabetes":
        return _diabetes(), max(200, 4 * n) if features is None else features
    return _gaussian(n, features or 4 * n, seed), None


def _unknown(name: str) -> InputError:
    if Path(name).exists():
        return InputError("data", name, "is neither a .npz nor a .csv file", "save it as one of them")
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"choose {', '.join(NAMES)}, or a .npz or .csv file"
    return InputError("data", name, "is not known", remedy)


def _drawn(rows: _Rows, n: int | None, seed: int, columns: int) -> _Rows:
    """n rows drawn by the seed; the others, up to a limit, held out where nothing else measures the test loss."""
    available = len(rows.y)
    if n is None or n == available:
        return rows
    if n > available:
        raise InputError("n", n, f"exceeds the {available} rows of {rows.name}", "use fewer rows")
    order = generator(seed, "rows").permutation(available)
    chosen = replace(rows, X=rows.X[order[:n]], y=rows.y[order[:n]])
    if rows.w_star is not None or rows.X_test is not None:
        return chosen
    limit = max(1, min(MAX_HELD_OUT, int(MAX_HELD_OUT_ENTRIES / columns)))
    held_out = order[n : n + limit]
    return replace(chosen, X_test=rows.X[held_out], y_test=rows.y[held_out])


def _lifted(rows: _Rows, features: int | None, seed: int) -> _Rows:
    """The same rows in random Fourier features, training and held-out alike."""
    if not features:
        return rows
    parts = [rows.X] if rows.X_test is None else [rows.X, rows.X_test]
    bandwidth = median_distance(rows.X if len(rows.X) > 1 else np.concatenate(parts))
    lifted = [random_fourier_features(part, features, bandwidth, seed) for part in parts]
    return replace(rows, X=lifted[0], X_test=lifted[1] if len(lifted) > 1 else None)


def _gaussian(n: int, d: int, seed: int) -> _Rows:
    inputs = generator(seed, "gaussian inputs").standard_normal((n, d))
    teacher = generator(seed, "teacher").standard_normal(d)
    teacher /= np.linalg.norm(teacher)
    return _Rows(inputs, inputs @ teacher, "gaussian", w_star=teacher)


def _digits(target: str | None) -> _Rows:
    table = _packaged("digits.csv.gz", ",")
    pixels, digit = table[:, :-1] / 16, table[:, -1]
    labels = {"parity": 1 - 2 * (digit % 2), "class": (digit - 4.5) / np.sqrt(8.25)}
    target = target or "parity"
    if target not in labels:
        raise InputError("target", target, "is not a target of digits", "choose parity or class")
    return _Rows(pixels, labels[target], "digits", units=target)


def _diabetes() -> _Rows:
    columns = _standardised(_packaged("diabetes_data_raw.csv.gz", None))
    return _Rows(columns, _standardised(_packaged("diabetes_target.csv.gz", None)), "diabetes", "standard deviations")


def _standardised(table: FloatArray) -> FloatArray:
    return np.asarray((table - table.mean(axis=0)) / table.std(axis=0))


def _packaged(file: str, delimiter: str | None) -> FloatArray:
    """A table that scikit-learn installs, read without importing it."""
    package = importlib.util.find_spec("sklearn")
    folders = list(package.submodule_search_locations or []) if package else []
    paths = [Path(folder, "datasets", "data", file) for folder in folders]
    for path in paths:
        if path.is_file():
            with gzip.open(path, "rt") as lines:
                return np.loadtxt(lines, delimiter=delimiter)
    raise InputError("data", file, "is not installed", "pip install scikit-learn")


def _npz(path: Path, features: int | None) -> _Rows:
    arrays = _npz_arrays(path)
    if "X" not in arrays:
        raise InputError("data", path, f"holds no X but {', '.join(arrays) or 'nothing'}", "save X (n, d) in it")
    if "y" not in arrays and "w_star" not in arrays:
        raise InputError("data", path, "holds neither y nor w_star", "save labels y (n,) or a teacher w_star (d,)")
    if features and ("w_star" in arrays or "u0" in arrays):
        raise InputError("features", features, f"has no meaning for the w_star or u0 in {path}", "leave it out")
    inputs, teacher = arrays.pop("X"), arrays.get("w_star")
    if teacher is not None and teacher.shape != inputs.shape[1:]:
        raise InputError(
            "shape of w_star", teacher.shape, f"is not {inputs.shape[1:]}", "give one weight per column of X"
        )
    labels = arrays.pop("y") if teacher is None or "y" in arrays else inputs @ teacher
    if len(labels) != len(inputs):
        raise InputError("shape of y", labels.shape, f"is not ({len(inputs)},)", "give one label per row of X")
    X_test, y_test, u0 = (arrays.get(name) for name in ("X_test", "y_test", "u0"))
    return _Rows(inputs, labels, path.stem, w_star=teacher, X_test=X_test, y_test=y_test, u0=u0)


def _npz_arrays(path: Path) -> dict[str, FloatArray]:
    """The arrays of the file that a problem knows, checked here so that positions named in errors are the file's."""
    _check_file(path)
    axes = {"X": 2, "y": 1, "w_star": 1, "X_test": 2, "y_test": 1, "u0": 1}
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            found = {name: archive[name] for name in axes if name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, zlib.error) as error:
        raise InputError("data", path, f"is not a readable .npz file ({error})", "save it with numpy.savez") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(
            "data", path, "holds Python objects or no arrays", "save plain numbers with numpy.savez"
        ) from None
    return {name: finite_array(name, array, axes[name]) for name, array in found.items()}


def _csv(path: Path, target: str | None) -> _Rows:
    _check_file(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            header, table = _csv_table(path, csv.reader(lines, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("data", path, f"is not readable as .csv text ({error})", "save it as UTF-8 text") from None
    column = header.index(_csv_target(header, target))
    return _Rows(np.delete(table, column, axis=1), table[:, column], path.stem, header[column])


def _csv_target(header: list[str], target: str | None) -> str:
    if target is None:
        raise InputError("target", None, "names no column of the .csv file", f"choose one of {', '.join(header)}")
    if target not in header:
        near = difflib.get_close_matches(target, header, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(header)}"
        raise InputError("target", target, "is not a column of the .csv file", remedy)
    return target


def _csv_table(path: Path, lines: Iterable[list[str]]) -> tuple[list[str], FloatArray]:
    """Column names ``(columns,)`` and numbers ``(rows, columns)``."""
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line)
    header = [name.strip() for name in next(numbered, (0, []))[1]]
    if len(header) < 2:
        raise InputError("columns", len(header), f"of {path} are too few", "separate columns by commas")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise InputError("column", twice, f"appears twice in {path}", "rename one of them")
    table = list(_csv_numbers(header, numbered))
    if not table:
        raise InputError("data", path, "holds a header and no rows", "add rows of numbers")
    return header, np.array(table)


def _csv_numbers(header: list[str], numbered: Iterator[tuple[int, list[str]]]) -> Iterator[list[float]]:
    for number, line in numbered:
        if len(line) != len(header):
            raise InputError(f"fields in row {number}", len(line), f"are not {len(header)}", "complete the row")
        yield [_number(field, name, number) for field, name in zip(line, header, strict=True)]


def _number(field: str, column: str, row: int) -> float:
    try:
        value = float(field)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        where = f"column {column}, row {row}"
        raise InputError(where, repr(field), "is not a finite number", "fill it, or drop the row or column")
    return value


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError("data", path, "is not a file", "check the path")
    if path.stat().st_size == 0:
        raise InputError("data", path, "is empty", "save it again")
    if not os.access(path, os.R_OK):
        raise InputError("data", path, "cannot be read", "check its permissions")
