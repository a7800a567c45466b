"""A figure's data as one xarray dataset.

Variables with long names and units, the checks that go with them, and a hash.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray

from numerics.check import Check

Array = npt.NDArray[Any]
Variable = tuple[tuple[str, ...], Array, dict[str, str]]


def var(dims: str, values: npt.ArrayLike, long_name: str, units: str = "1") -> Variable:
    """A variable over space-separated dimension names."""
    return tuple(dims.split()), np.asarray(values), {"long_name": long_name, "units": units}


def dataset(
    title: str, variables: Mapping[str, Variable], checks: Iterable[Check] = (), **facts: float | str
) -> xarray.Dataset:
    """The data behind a figure. facts are numbers or words that the caption needs; checks are kept as JSON."""
    attributes = {"title": title, "checks": json.dumps([_finite(check.record()) for check in checks]), **facts}
    return xarray.Dataset(dict(variables), attrs=attributes)


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in record.items() if k != "margin"}


def checks(data: xarray.Dataset) -> list[dict[str, Any]]:
    """The checks that came with the data, as in summary.json."""
    records: list[dict[str, Any]] = json.loads(data.attrs["checks"])
    return records


def checked(data: xarray.Dataset) -> str:
    """How many of the checks pass, in a few words; what is undecided or fails is said."""
    verdicts = [record["verdict"] for record in checks(data)]
    passed, failed = verdicts.count("pass"), verdicts.count("fail")
    open_ones = len(verdicts) - passed - failed
    words = [f"{passed} of {len(verdicts)} comparisons pass"]
    words += [f"{open_ones} left open (sample too small for its margin)"] if open_ones else []
    words += [f"{failed} fail"] if failed else []
    return ", ".join(words)


def digest(data: xarray.Dataset) -> str:
    """SHA-256 over names, dimensions, types and bytes of everything; unchanged by a netCDF file."""
    found = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        variable = data[name]
        words = variable.values.dtype.kind in "OU"
        values = np.asarray(variable.values.tolist()) if words else np.ascontiguousarray(variable.values)
        kind = "text" if words else values.dtype.newbyteorder("<").str
        found.update(f"{name}{variable.dims}{kind}{values.shape}{_attributes(variable.attrs)}".encode())
        found.update(repr(values.tolist()).encode() if words else values.tobytes())
    found.update(_attributes(data.attrs).encode())
    return found.hexdigest()


def _attributes(attributes: Mapping[Any, Any]) -> str:
    """Plain numbers and words in the order of their names."""
    plain = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attributes.items()}
    return repr(sorted(plain.items()))
