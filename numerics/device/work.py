"""What an ensemble on a device does: one problem and parametrization, many learning rates, noises and starts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from numerics import streams
from numerics.errors import InputError
from numerics.inputs import not_negative, shaped, whole
from numerics.sgd import DIVERGED, RadialSGD, SeparableSGD
from theory.parametrization import Coordinatewise, Parametrization

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Model = RadialSGD | SeparableSGD

PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True, eq=False)
class Cells:
    """Settings in which replicas differ, a row per cell: starts ``(C, ...)`` in the layout of `numerics.sgd`,

    learning rates etas, label noises sigmas and limits beyond which a replica counts as diverged, each ``(C,)``. Raises
    InputError for lengths that differ, and an eta or sigma that is negative or not finite.
    """

    starts: FloatArray
    etas: FloatArray
    sigmas: FloatArray
    limits: FloatArray

    def __post_init__(self) -> None:
        cells = len(self.starts)
        for name in ("etas", "sigmas", "limits"):
            if np.shape(getattr(self, name)) != (cells,):
                rule = f"is not ({cells},), one for each start"
                raise InputError(f"shape of {name}", np.shape(getattr(self, name)), rule, "give one for each cell")
        for name in ("eta", "sigma"):
            values = np.asarray(getattr(self, f"{name}s"), float)
            for value in values[~(np.isfinite(values) & (values >= 0))][:1]:
                not_negative(name, value)

    def require(self, work: "Work", replicas: int) -> None:
        """Raise InputError for starts of another layout, and replicas that the cells cannot share evenly.

        A kernel checks no bounds.
        """
        shaped(self.starts, *work.state_shape)
        if replicas < 1 or replicas % len(self.etas):
            rule = f"is not a multiple of the {len(self.etas)} cells"
            raise InputError("replicas", replicas, rule, "give as many for each cell")


def divergence_limit(model: Model) -> float:
    """Of |u|^2 for Radial, of each |F(u)_j| for separable parametrizations."""
    return (DIVERGED * model.scale) ** 2 if isinstance(model, RadialSGD) else DIVERGED * model.scale


@dataclass(frozen=True, eq=False)
class Work:
    """What all replicas share. rows is X X^T ``(n, n)`` for Radial, in reduced coordinates, X ``(n, d)`` for others."""

    parametrization: Parametrization
    radial: bool
    rows: FloatArray
    y: FloatArray
    batch: int
    key: tuple[int, int]

    @classmethod
    def of(cls, model: Model, *, batch: int, seed: int) -> "Work":
        """The work of a simulator of `numerics.sgd`. Raises InputError: batch below 1, seed out of range."""
        whole("batch", batch)
        key = streams.key(seed)
        if isinstance(model, RadialSGD):
            return cls(model.parametrization, True, model.gram, np.asarray(model.reduced.y), batch, key)
        return cls(model.parametrization, False, np.asarray(model.problem.X), np.asarray(model.problem.y), batch, key)

    @property
    def size(self) -> int:
        """The long side of a state: n for Radial, d for separable ones."""
        return int(self.rows.shape[1])

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of one replica, in the layout of `numerics.sgd`."""
        factors = 1 if isinstance(self.parametrization, Coordinatewise) else 2
        return (self.size + 2,) if self.radial else (factors, self.size)


@dataclass(frozen=True, eq=False)
class Buffers:
    """What stays on the device. states ``(n + 2, R)`` or ``(R, factors, d)``; rates = eta / batch, sigmas, limits

    ``(R,)``; replicas ``(R,)`` int64, the streams' numbers; rows and y as in `Work`.
    """

    states: Tensor
    rates: Tensor
    sigmas: Tensor
    limits: Tensor
    replicas: Tensor
    rows: Tensor
    y: Tensor

    @classmethod
    def of(
        cls, work: Work, cells: Cells, replicas: IntArray, *, device: torch.device | str, dtype: torch.dtype
    ) -> "Buffers":
        """Upload; the replicas ``(R,)`` share the cells evenly, those of the first cell first."""
        copies = len(replicas) // len(cells.etas)

        def real(values: FloatArray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

        def each(values: FloatArray) -> Tensor:
            return real(values).repeat_interleave(copies, 0)

        states = real(cells.starts.T).repeat_interleave(copies, 1) if work.radial else each(cells.starts)
        return cls(
            states,
            each(cells.etas / work.batch),
            each(cells.sigmas),
            each(cells.limits),
            torch.tensor(replicas, dtype=torch.int64, device=device),
            real(work.rows),
            real(work.y),
        )

    @property
    def count(self) -> int:
        """R."""
        return int(self.replicas.shape[0])
