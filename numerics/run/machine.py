"""Where and how a job's replicas are simulated: numba on the processor, or torch and Triton on a device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.memory import require, size
from numerics.run.settings import Settings
from numerics.schedule import Schedule
from numerics.sgd import Noise

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: what torch and Triton take of the host's memory beside what a job by numba does
LIBRARIES = 550 << 20
_REMEDY = "lower --replicas"


@dataclass(frozen=True)
class Machine:
    """A device, an engine and a precision. engine "auto": numba on the processor, the device's own choice on a card.

    Raises InputError where they contradict each other.
    """

    device: str
    engine: Literal["auto", "numba", "torch", "triton"]
    precision: Literal["float64", "float32"]
    threads: int

    def __post_init__(self) -> None:
        if self.engine == "numba" and self.device != "cpu":
            raise InputError("engine", "numba", f"does not run on {self.device}", "give --device cpu")
        if self.numba and self.precision != "float64":
            raise InputError("precision", self.precision, "is not numba's here", "give --engine torch")

    @classmethod
    def of(cls, settings: Settings) -> "Machine":
        """As the settings have it."""
        return cls(settings.device, settings.engine, settings.precision, settings.threads)

    @property
    def numba(self) -> bool:
        """Whether the processor's own kernels do the work."""
        return self.engine == "numba" or (self.engine == "auto" and self.device == "cpu")

    @property
    def device_engine(self) -> Literal["auto", "torch", "triton"]:
        """What an ensemble on a device is asked for."""
        return "auto" if self.engine == "numba" else self.engine

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

    def require(self) -> None:
        """Raise InputError where the device is not there."""
        if not self.numba:
            self.torch_device()

    def simulate(
        self, model: Any, states: FloatArray, schedule: Schedule, steps: IntArray, **options: Any
    ) -> dict[str, FloatArray]:
        """What `numerics.sgd.simulate` does, on the device; options are noise, first and tick."""
        from numerics.device.simulate import simulate

        place: dict[str, Any] = {
            "device": self.torch_device(),
            "engine": self.device_engine,
            "precision": self.precision,
        }
        return simulate(model, states, schedule, steps, **place, **options)

    def memory(self, model: Any, noise: Noise, replicas: int) -> int:
        """Bytes of the replicas where they are simulated; 0 by numba, whose states the host's prediction counts."""
        if self.numba:
            return 0
        from numerics.device.simulate import memory

        return memory(model, noise, replicas, self.torch_device(), self.device_engine, self.precision)

    def require_memory(self, need: int) -> str:
        """One line that says what is needed there and what is free. Raises InputError where it is too little."""
        if self.device == "cpu":
            return require(need, _REMEDY)
        from numerics.device.ensemble import free_bytes

        free = free_bytes(self.torch_device())
        if need > free:
            rule = f"would be needed on {self.device}, and {size(free)} is free there"
            raise InputError("memory", size(need), rule, _REMEDY)
        return f"memory on {self.device}: about {size(need)} of {size(free)}"
