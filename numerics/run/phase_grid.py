"""The grid of a phase diagram: two settings with their values, a job's system for every pair of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.run.settings import AUTO_RHO0, Settings, validated
from numerics.run.system import System, load_parametrization, make_system

FloatArray = npt.NDArray[np.float64]

#: settings that may vary -> what they are called in a figure
AXES = {
    "eta-fraction": "learning rate, share of the stability limit",
    "eta": r"learning rate $\eta$",
    "sigma": r"label noise $\sigma$",
    "batch": "batch size $B$",
    "depth": "depth $D$",
    "rho0": r"start $\rho_0$",
}
_WHOLE = ("batch",)
_MOST_VALUES = 1000


@dataclass(frozen=True)
class Axis:
    """A setting and its values, increasing."""

    name: str
    values: tuple[float, ...]

    @property
    def label(self) -> str:
        """For a figure."""
        return AXES[self.name]

    def text(self, i: int) -> str:
        """The i-th value with its name."""
        return f"{self.name} {self.values[i]:.4g}"


def parse_axis(option: str, text: str) -> Axis:
    """NAME=LOW:HIGH:COUNT evenly, NAME=LOW:HIGH:COUNT:log geometrically, or NAME=VALUE,VALUE,... Raises InputError."""
    name, _, given = text.partition("=")
    if name not in AXES:
        raise InputError(option, text, "names no setting of a phase diagram", f"give one of {', '.join(AXES)}")
    try:
        values = np.round(_values(given)) if name in _WHOLE else _values(given)
    except (ValueError, OverflowError):
        rule, remedy = "is not a range or list of numbers", "give NAME=LOW:HIGH:COUNT[:log] or NAME=VALUE,VALUE"
        raise InputError(option, text, rule, remedy) from None
    found = tuple(float(value) for value in np.unique(values))
    if not found or not np.all(np.isfinite(found)) or not found[0] > 0:
        raise InputError(option, text, "has values that are not finite and above 0", "give positive numbers")
    return Axis(name, found)


def _values(text: str) -> FloatArray:
    parts = text.split(":")
    if len(parts) == 1:
        return np.array([float(value) for value in text.split(",")])
    if len(parts) not in (3, 4) or parts[3:] not in ([], ["log"]):
        raise ValueError
    low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    if not 1 <= count <= _MOST_VALUES:
        raise ValueError
    if parts[3:]:
        return np.geomspace(low, high, count)
    return np.linspace(low, high, count)


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of the grid; its replicas are numbers first, first + 1, ... of the streams."""

    row: int
    column: int
    system: System

    @property
    def first(self) -> int:
        """Number of its first replica."""
        return self.system.settings.first_replica


@dataclass(frozen=True, eq=False)
class Grid:
    """Settings with two of them varied: x along columns, y along rows."""

    settings: Settings
    x: Axis
    y: Axis

    def __post_init__(self) -> None:
        if self.x.name == self.y.name or {self.x.name, self.y.name} == {"eta", "eta-fraction"}:
            raise InputError("y", self.y.name, f"contradicts x = {self.x.name}", "vary two different settings")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return len(self.y.values), len(self.x.values)

    @property
    def replicas(self) -> int:
        """Of the whole grid."""
        return self.settings.replicas * self.shape[0] * self.shape[1]

    @cached_property
    def base(self) -> System:
        """Problem and null direction, which all cells share."""
        return make_system(self.settings)

    @cached_property
    def cells(self) -> list[Cell]:
        """Row after row."""
        return [self._cell(row, column) for row, column in np.ndindex(self.shape)]

    def text(self, cell: Cell) -> str:
        """Where a cell lies."""
        return f"{self.x.text(cell.column)}, {self.y.text(cell.row)}"

    def _cell(self, row: int, column: int) -> Cell:
        varied = dict(self._varied(row, column))
        fraction = varied.pop("eta_fraction", self.settings.eta_fraction)
        first = (row * self.shape[1] + column) * self.settings.replicas
        settings = validated(**{**self.settings.model_dump(), **varied, "first_replica": first, "force": True})
        rho0 = AUTO_RHO0 * self.base.problem.norm_w_mn if settings.rho0 == "auto" else settings.rho0
        system = replace(self.base, settings=settings, parametrization=load_parametrization(settings), rho0=float(rho0))
        if settings.eta == "auto":  # a share of this cell's own limit; above 1, too, to see it diverge
            eta = fraction * system.stability_limit
            system = replace(system, settings=settings.model_copy(update={"eta": eta}))
        return Cell(row, column, system)

    def _varied(self, row: int, column: int) -> Iterator[tuple[str, Any]]:
        for axis, i in ((self.x, column), (self.y, row)):
            value: Any = int(axis.values[i]) if axis.name in _WHOLE else axis.values[i]
            yield axis.name.replace("-", "_"), value

    def duration(self) -> int:
        """Steps of every cell: as given, or what the law takes in the stable cell nearest to the middle."""
        if self.settings.steps != "auto":
            return self.settings.steps
        middle = (np.array(self.shape) - 1) / 2
        near = sorted(self.cells, key=lambda cell: float(np.hypot(*(np.array([cell.row, cell.column]) - middle))))
        chosen = next((cell for cell in near if cell.system.stable), near[0])
        return chosen.system.duration()
