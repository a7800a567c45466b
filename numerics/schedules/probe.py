"""tr H at the price of one gradient per probe: Hutchinson's estimate of the Gauss-Newton trace, in output space.

For targets drawn from the model's own predictive distribution, independently per example, the gradient of the mean
loss over b examples has mean zero and E|gradient|^2 = tr(GN)/b, GN the Gauss-Newton matrix of that loss: for the
squared loss random signs added to the outputs, for cross-entropy labels drawn from the softmax (Hutchinson 1990;
Kunstner, Hennig, Balles 2019 for the equality with the Fisher matrix). Where the network interpolates, GN = H.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from numerics.errors import InputError
from numerics.networks.draws import Purpose, generator

T = TypeVar("T")
KINDS = ("squared", "mse", "cross-entropy")


def probe_gradient_loss(outputs: Tensor, uniforms: Tensor, kind: str) -> Tensor:
    """A scalar whose gradient g has E|g|^2 = tr(GN)/b; outputs ``(b, C)``, uniforms ``(b, C)`` in [0, 1)."""
    count = outputs.shape[0]
    if kind == "cross-entropy" and outputs.shape[-1] == 1:
        drawn = torch.where(uniforms < torch.sigmoid(outputs.detach()), 1.0, -1.0)
        return functional.softplus(-drawn * outputs).sum() / count
    if kind == "cross-entropy":
        logs = functional.log_softmax(outputs, dim=-1)
        edges = torch.cumsum(torch.exp(logs.detach()), dim=-1)[..., :-1]
        drawn = (uniforms[..., :1] >= edges).sum(dim=-1, keepdim=True)
        return -torch.gather(logs, -1, drawn).sum() / count
    signs = torch.where(uniforms < 0.5, 1.0, -1.0)
    scale = (2 / outputs.shape[-1]) ** 0.5 if kind == "mse" else 1.0
    return scale * (signs * outputs).sum() / count


def probe_uniforms(seed: int, probe: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The uniforms ``(b, C)`` of one probe: the same at every step, so that a trend is not drowned in sampling."""
    return generator(seed, Purpose.PROBE, stream=2, block=probe).random(shape)


@dataclass(frozen=True)
class TraceProbe:
    """tr H of a torch module on fixed inputs ``(b, ...)``: one value per probe, one gradient each.

    ``kind``: squared ((1/2b) sum of squares), mse (torch's MSELoss) or cross-entropy (classes, or one logit);
    ``examples`` is the size of the training set. The module is evaluated in eval mode and left as it was: weights,
    gradients, mode, random state. Raises InputError for an unknown kind or no probes.
    """

    model: nn.Module
    inputs: Tensor
    kind: str
    examples: int
    probes: int = 4
    seed: int = 0
    _drawn: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("loss kind", self.kind, "is not known", f"choose one of {', '.join(KINDS)}")
        if self.probes < 1:
            raise InputError("probes", self.probes, "measures nothing", "give at least 1")
        if self.examples < len(self.inputs):
            remedy = "give the number of examples in the training set (not of batches)"
            raise InputError("examples", self.examples, f"is below the {len(self.inputs)} inputs of the probe", remedy)

    def residuals(self) -> int:
        """Training examples times outputs."""
        with torch.no_grad():
            outputs = self._evaluated(lambda: self.model(self.inputs[:1]))
        return self.examples * int(outputs.shape[-1])

    def __call__(self) -> list[float]:
        """tr H by each probe: one forward pass, and one backward pass per probe."""
        return self._evaluated(self._values)

    def _values(self) -> list[float]:
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        squares = []
        with torch.enable_grad():
            outputs = self.model(self.inputs)
            for probe in range(self.probes):
                loss = probe_gradient_loss(outputs, self._uniforms(probe, outputs), self.kind)
                last = probe == self.probes - 1
                found = torch.autograd.grad(loss, weights, retain_graph=not last, allow_unused=True)
                norms = torch._foreach_norm([gradient for gradient in found if gradient is not None])
                squares.append(torch.stack(norms).square().sum())
        return [len(self.inputs) * float(value) for value in torch.stack(squares).tolist()]

    def _uniforms(self, probe: int, outputs: Tensor) -> Tensor:
        """The probe's draws, kept: they are the same at every step."""
        if probe not in self._drawn:
            shape = (outputs.shape[0], outputs.shape[1])
            drawn = torch.as_tensor(probe_uniforms(self.seed, probe, shape), dtype=outputs.dtype)
            self._drawn[probe] = drawn.to(outputs.device)
        return self._drawn[probe]

    def _evaluated(self, act: Callable[[], T]) -> T:
        was = self.model.training
        self.model.eval()
        try:
            return act()
        finally:
            self.model.train(was)
