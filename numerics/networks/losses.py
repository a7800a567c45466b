"""Losses of outputs ``(..., n, C)`` and targets ``(..., n, C)``, one number per stack entry; and accuracy."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """(1/2n) Σ_i ‖f_i − y_i‖²: the loss of the theory."""
    return 0.5 * (outputs - targets).square().sum(dim=(-2, -1)) / outputs.shape[-2]


def mean_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """(1/nC) Σ_i ‖f_i − y_i‖²: what deep-learning code calls MSE."""
    return (outputs - targets).square().mean(dim=(-2, -1))


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−(1/n) Σ_ic y_ic log softmax(f_i)_c, targets as probabilities; one output means logistic with targets ±1."""
    if outputs.shape[-1] == 1:
        return functional.softplus(-targets * outputs).mean(dim=(-2, -1))
    return -(targets * functional.log_softmax(outputs, dim=-1)).sum(dim=(-2, -1)) / outputs.shape[-2]


LOSSES: dict[str, Loss] = {"squared": squared, "mse": mean_squared, "cross-entropy": cross_entropy}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of examples put in their class: largest output, or the sign of a single one."""
    if outputs.shape[-1] == 1:
        return ((outputs > 0) == (targets > 0)).to(outputs.dtype).mean()
    return (outputs.argmax(-1) == targets.argmax(-1)).to(outputs.dtype).mean()
