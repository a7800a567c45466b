"""The average of the recent weights: where a decay would lead, without the wait (C7).

At a large learning rate the weights fluctuate around the manifold; a decay removes the fluctuation and leaves the
mean. A held-out loss at the running mean is therefore the one that a decay begun now would end with, while a
held-out loss at the weights themselves adds the fluctuation's share and its noise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

#: memory of the mean, as a share of the steps so far
HORIZON = 0.1
#: samples of the weights per memory, each about as dear as one optimizer step, and the fewest steps between two
_SAMPLES = 8
_FEWEST_STEPS = 5


def interval(step: int) -> int:
    """Steps between samples of the weights at a step: proportional to the steps so far."""
    return max(_FEWEST_STEPS, int(HORIZON * step / _SAMPLES))


def share(step: int, since: int) -> float:
    """What a sample weighs that stands for the last ``since`` steps: exponential forgetting over HORIZON * step."""
    return min(1.0, since / max(1.0, HORIZON * step))


class RunningMean:
    """Exponentially forgetting mean of tensors (the weights), with a memory that grows with the run.

    ``tensors`` are read in place at every sample. Buffers of a module (batch normalisation's) are not averaged.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self.values: list[Tensor] = []
        self.step = self.next = 0

    def sample(self, step: int) -> None:
        """Add the weights after ``step`` steps; call where ``step >= next``."""
        with torch.no_grad():
            if self.values:
                torch._foreach_lerp_(self.values, self.tensors, share(step, step - self.step))
            else:
                self.values = [tensor.detach().clone() for tensor in self.tensors]
        self.step, self.next = step, step + interval(step)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The mean in the place of the weights; they come back at the end, whatever happens."""
        if not self.values:
            yield
            return
        own = [tensor.detach().clone() for tensor in self.tensors]
        with torch.no_grad():
            torch._foreach_copy_(self.tensors, self.values)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.tensors, own)

    def state(self) -> dict[str, object]:
        """Tensors and numbers, for ``torch.save``."""
        return {"step": self.step, "next": self.next, "values": [value.clone() for value in self.values]}

    def restore(self, state: dict[str, object]) -> None:
        """Go on from a state; its tensors move to where the weights are."""
        values = state["values"]
        self.step, self.next = int(str(state["step"])), int(str(state["next"]))
        self.values = [value.to(like) for value, like in zip(values, self.tensors, strict=False)]  # type: ignore[call-overload]
