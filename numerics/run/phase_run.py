"""A phase diagram's replicas, simulated: by numba on the processor or resident on a torch device, with equal draws."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.memory import size
from numerics.run.phase_grid import Cell, Grid
from numerics.schedule import Constant
from numerics.sgd import RadialSGD, SeparableSGD

if TYPE_CHECKING:
    import torch

    from numerics.device.work import Cells

Choice = Literal["auto", "numba", "torch", "triton"]

#: host memory per replica beside the states: observables of one cell at a time, and what is kept
_KEPT_NUMBERS = 2
_LIBRARIES = {"numba": 350 << 20, "device": 900 << 20}

Observed = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Machine:
    """Where and how to simulate. engine "auto": numba on the processor, the device's own choice on a card."""

    device: str
    engine: Choice
    precision: str
    threads: int

    def __post_init__(self) -> None:
        if self.engine not in ("auto", "numba", "torch", "triton"):
            raise InputError("engine", self.engine, "is unknown", "give auto, numba, torch or triton")
        if self.precision not in ("float64", "float32"):
            raise InputError("precision", self.precision, "is unknown", "give float64 or float32")
        if self.numba and self.device != "cpu":
            raise InputError("engine", "numba", f"does not run on {self.device}", "give --device cpu")
        if self.numba and self.precision != "float64":
            raise InputError("precision", self.precision, "is not numba's here", "give --engine torch")

    @property
    def numba(self) -> bool:
        """Whether the processor's own kernels do the work."""
        return self.engine == "numba" or (self.engine == "auto" and self.device == "cpu")

    def torch_device(self) -> "torch.device":
        """Checked. Raises InputError, without torch too."""
        try:
            import torch
        except ModuleNotFoundError:
            rule, remedy = "runs on torch, which is not installed", "pip install 'latedecay[gpu]', or give --device cpu"
            raise InputError("device", self.device, rule, remedy) from None
        from numerics.device.ensemble import torch_device

        torch.set_num_threads(self.threads)
        return torch_device(self.device)


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
    from numerics.device.ensemble import Ensemble

    device, copies = machine.torch_device(), grid.settings.replicas
    for cells in _groups(grid):
        noise = cells[0].system.noise
        ensemble = Ensemble(
            model_of(cells[0]),
            cells_of(cells),
            replicas=np.concatenate([np.arange(cell.first, cell.first + copies) for cell in cells]),
            batch=noise.batch,
            seed=noise.seed,
            device=device,
            engine="auto" if machine.engine == "numba" else machine.engine,
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
    kept = _KEPT_NUMBERS * 8 * grid.replicas
    width = _width(grid) * 8 * grid.settings.replicas
    if machine.numba:
        return Memory(_LIBRARIES["numba"] + kept + 8 * width, 0)
    need = max(_on_card(cells, machine) for cells in _groups(grid))
    host = _LIBRARIES["device"] + kept + 8 * width
    if machine.device == "cpu":
        return Memory(host + need, 0)
    _require(need, machine)
    return Memory(host, need)


def _width(grid: Grid) -> int:
    """Numbers of the longest vector that observing a replica makes."""
    problem = grid.base.problem
    return problem.n + 3 if isinstance(grid.base.model, RadialSGD) else 2 * problem.d


def _on_card(cells: list[Cell], machine: Machine) -> int:
    from numerics.device.ensemble import chosen_engine, predicted_bytes
    from numerics.device.work import Work

    work: Work = Work.of(model_of(cells[0]), batch=cells[0].system.noise.batch, seed=cells[0].system.noise.seed)
    engine = chosen_engine("auto" if machine.engine == "numba" else machine.engine, work, machine.torch_device())
    return predicted_bytes(work, len(cells) * cells[0].system.settings.replicas, engine, machine.precision)


def _require(need: int, machine: Machine) -> None:
    from numerics.device.ensemble import free_bytes

    free = free_bytes(machine.torch_device())
    if need > free:
        rule = f"would be needed on {machine.device}, and {size(free)} is free there"
        raise InputError("memory", size(need), rule, "lower --replicas or the grid's size")


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
