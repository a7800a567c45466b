"""Shards joined: one labelled dataset over the design's axes. Bits depend on the shards alone."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import mean_and_sem
from numerics.sweep.config import DRAW, Sweep
from numerics.sweep.observables import OBSERVABLES, RESOLVED

if TYPE_CHECKING:
    import xarray

FloatArray = npt.NDArray[np.float64]
BRANCH = "branch"
_PARTS = {"mean": "", "sem": "standard error of the ", "prediction": "law's prediction of the "}

#: one point: its shards' contents in the order of replicas, None for those that are missing
Blocks = list[dict[str, Any] | None]


def dataset(sweep: Sweep, points: Iterable[Blocks]) -> "xarray.Dataset":
    """Observables over the design: mean over replicas, ``NAME_sem`` and ``NAME_prediction``; NaN where a point failed.

    ``error`` holds why; ``replicas`` how many were counted.
    """
    import xarray

    joined = [join(blocks) for blocks in points]
    shape = sweep.shape
    branches = max((len(point["resolved"].get("decay_step", [])) for point in joined), default=0)
    variables: dict[str, Any] = {}
    for name, (long_name, unit) in OBSERVABLES.items():
        for part, words in (
            ("mean", ""),
            ("sem", "standard error of the "),
            ("prediction", "law's prediction of the "),
        ):
            key = name if part == "mean" else f"{name}_{part}"
            table = [point[part].get(name) for point in joined]
            variables |= _variable(key, table, shape, branches, words + long_name, unit)
    for name, (long_name, unit) in RESOLVED.items():
        key = name if name not in shape else f"{name}_resolved"
        variables |= _variable(key, [p["resolved"].get(name) for p in joined], shape, branches, long_name, unit)
    dims = tuple(shape)
    errors = np.array([point["error"] for point in joined], dtype=str).reshape(tuple(shape.values()))
    counted = np.array([point["replicas"] for point in joined], np.int64).reshape(tuple(shape.values()))
    variables["error"] = (dims, errors.astype(object), {"long_name": "why the point failed; empty where it did not"})
    variables["replicas"] = (dims, counted, {"long_name": "replicas counted"})
    return xarray.Dataset(variables, _coordinates(sweep))


def join(blocks: Blocks) -> dict[str, Any]:
    """One point: ``mean``, ``sem`` and ``prediction`` by observable, ``resolved``, ``error``, ``replicas``.

    Values of all replicas are joined before the mean is taken. The prediction is the blocks' mean, weighted by
    replicas: only phase1's law starts from where its own replicas are; the others' predictions are equal.
    """
    errors = [block["error"] for block in blocks if block is not None and "error" in block]
    found = [block for block in blocks if block is not None and "record" in block]
    empty: dict[str, Any] = {"mean": {}, "sem": {}, "prediction": {}, "resolved": {}, "replicas": 0}
    if errors or not found:
        return empty | {"error": errors[0] if errors else "not computed yet"}
    records = [block["record"] for block in found]
    weights = np.array([block["count"] for block in found], float)
    point = empty | {"resolved": records[0]["resolved"], "replicas": int(weights.sum())}
    point["error"] = "" if len(found) == len(blocks) else "not all blocks computed yet"
    for name in records[0]["values"]:
        values = np.concatenate([np.array(record["values"][name], float) for record in records], axis=-1)
        point["mean"][name], point["sem"][name] = _moments(values)
    for name in records[0]["prediction"]:
        point["prediction"][name] = _weighted([record["prediction"][name] for record in records], weights)
    return point


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard error over replicas; exactly the value, and 0, where all are equal: nothing is random."""
    mean, sem = mean_and_sem(values)
    equal = np.all(values == values[..., :1], axis=-1)
    return np.where(equal, values[..., 0], mean), np.where(equal, 0.0, sem)


def _weighted(values: list[Any], weights: FloatArray) -> FloatArray:
    """The mean; exactly the value where all are equal."""
    table = np.array(values, float)
    mean = np.tensordot(weights / weights.sum(), table, 1)
    return np.where(np.all(table == table[0], axis=0), table[0], mean)


def _variable(
    key: str, table: list[Any], shape: dict[str, int], branches: int, long_name: str, unit: str
) -> dict[str, Any]:
    """A variable over the design, with the dimension of branches where a point holds several numbers."""
    if all(value is None for value in table):
        return {}
    several = any(np.ndim(value) for value in table if value is not None)
    filled = np.full((len(table), branches if several else 1), np.nan)
    for row, value in zip(filled, table, strict=True):
        if value is not None:
            row[: np.size(value)] = value
    dims = (*shape, BRANCH) if several else tuple(shape)
    sizes = (*shape.values(), branches) if several else tuple(shape.values())
    return {key: (dims, filled.reshape(sizes), {"long_name": long_name, "units": unit})}


def _coordinates(sweep: Sweep) -> dict[str, Any]:
    """Values along each axis, and each drawn setting along the draws. A list of mixed kinds is kept as text."""
    coordinates = {name: (name, _array(values)) for name, values in sweep.axes.items()}
    for name, values in sweep.draws.items():
        coordinates[name] = (DRAW, _array(values))
    return coordinates


def _array(values: list[Any]) -> npt.NDArray[Any]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return np.array(values) if numbers else np.array([str(value) for value in values], dtype=object)
