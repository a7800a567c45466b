"""A phase diagram's replicas, simulated: by numba on the processor or resident on a torch device, with equal draws."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.run.machine import Machine
from numerics.run.memory import observing, standing
from numerics.run.phase_grid import Cell, Grid
from numerics.schedule import Constant
from numerics.sgd import RadialSGD, SeparableSGD

if TYPE_CHECKING:
    from numerics.device.work import Cells

#: records of a cell, and bytes of what is kept of each of its replicas
_RECORDS, _KEPT = 2, 16

Observed = dict[str, npt.NDArray[np.float64]]


def simulate(grid: Grid, machine: Machine, steps: int, tick: Callable[[int], Any]) -> Iterator[tuple[Cell, Observed]]:
    """Each cell with the observables of its replicas after the steps, ``(R,)``; tick gets replica-steps."""
    parts = _by_numba(grid, machine, steps, tick) if machine.numba else _on_device(grid, machine, steps, tick)
    for cell, table in parts:
        yield cell, {name: table[name] for name in ("rho_slow", "loss")}


def _by_numba(grid: Grid, machine: Machine, steps: int, tick: Callable[[int], Any]) -> Iterator[tuple[Cell, Observed]]:
    copies = grid.settings.replicas
    for cell in grid.cells:
        system = cell.system
        table = system.simulate(
            system.states_on_manifold(), Constant(system.eta), np.array([0, steps]), lambda done: tick(done * copies)
        )
        yield cell, {name: values[-1] for name, values in table.items()}


def _on_device(grid: Grid, machine: Machine, steps: int, tick: Callable[[int], Any]) -> Iterator[tuple[Cell, Observed]]:
    """One ensemble per batch size and parametrization: what a kernel is compiled for."""
    for cells in _groups(grid):
        yield from _together(cells, machine, steps, tick)  # its frame ends before the next: one ensemble at a time


def _together(
    cells: list[Cell], machine: Machine, steps: int, tick: Callable[[int], Any]
) -> Iterator[tuple[Cell, Observed]]:
    """Cells that differ in numbers only, in one ensemble."""
    from numerics.device.ensemble import Ensemble

    noise, copies = cells[0].system.noise, cells[0].system.settings.replicas
    ensemble = Ensemble(
        model_of(cells[0]),
        cells_of(cells),
        replicas=np.concatenate([np.arange(cell.first, cell.first + copies) for cell in cells]),
        batch=noise.batch,
        seed=noise.seed,
        device=machine.torch_device(),
        engine=machine.device_engine,
        precision=machine.precision,
    )
    ensemble.advance(steps, partial(_tick_all, tick, len(cells) * copies))
    for i, cell in enumerate(cells):
        table = cell.system.model.observe(ensemble.states(i * copies, (i + 1) * copies))
        yield cell, table | {"rho_slow": cell.system.slow_rho(table)}


def _tick_all(tick: Callable[[int], Any], replicas: int, steps: int) -> None:
    tick(steps * replicas)


def _groups(grid: Grid) -> list[list[Cell]]:
    def key(cell: Cell) -> tuple[int, float]:
        return cell.system.settings.batch, cell.system.settings.depth

    return [list(cells) for _, cells in groupby(sorted(grid.cells, key=key), key)]


def model_of(cell: Cell) -> RadialSGD | SeparableSGD:
    model = cell.system.model
    if not isinstance(model, RadialSGD | SeparableSGD):
        raise TypeError(f"{type(model).__name__} has no engine on a device")
    return model


def cells_of(cells: list[Cell]) -> "Cells":
    from numerics.device.work import Cells, divergence_limit

    systems = [cell.system for cell in cells]
    return Cells(
        starts=np.stack([system.states_on_manifold()[0] for system in systems]),
        etas=np.array([system.eta for system in systems]),
        sigmas=np.array([system.settings.sigma for system in systems]),
        limits=np.array([divergence_limit(model_of(cell)) for cell in cells]),
    )


@dataclass(frozen=True)
class Memory:
    """Predicted peaks in bytes: of this process, and on a card."""

    host: int
    card: int


def predicted_memory(grid: Grid, machine: Machine) -> Memory:
    """Before any replica exists. Raises InputError where a card has less memory free."""
    host = standing(grid.settings, numba=machine.numba) + _KEPT * grid.replicas
    host += observing(grid.settings, _RECORDS)  # one cell at a time
    if machine.numba:
        return Memory(host, 0)
    need = max(_on_card(cells, machine) for cells in _groups(grid))
    if machine.device == "cpu":
        return Memory(host + need, 0)
    print(machine.require_memory(need), file=sys.stderr)
    return Memory(host, need)


def _on_card(cells: list[Cell], machine: Machine) -> int:
    copies = cells[0].system.settings.replicas
    return machine.memory(model_of(cells[0]), cells[0].system.noise, len(cells) * copies)


@dataclass
class Clock:
    """Time that the simulation took, without the law's."""

    seconds: float = 0.0

    def around(self, parts: Iterator[tuple[Cell, Observed]]) -> Iterator[tuple[Cell, Observed]]:
        """The same, timed."""
        while True:
            begin = time.perf_counter()
            item = next(parts, None)
            self.seconds += time.perf_counter() - begin
            if item is None:
                return
            yield item
