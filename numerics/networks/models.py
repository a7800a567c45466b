"""Networks without batch norm: MLP, small CNN, VGG. Each is described by one frozen record and built from it."""

from dataclasses import dataclass
from math import prod

from torch import nn

from numerics.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
POOL = 0
VGG_SMALL = (16, POOL, 32, POOL, 64, 64, POOL)
VGG11 = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL)
KINDS = ("mlp", "cnn", "vgg")


@dataclass(frozen=True)
class Architecture:
    """A network: ``kind`` (mlp, cnn, vgg), hidden ``widths`` (0 is a pooling layer in a vgg), activation, output count.

    Simonyan, Zisserman 2015, configuration A, is ``kind="vgg", widths=VGG11``.
    """

    kind: str
    widths: tuple[int, ...]
    activation: str
    outputs: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("model", self.kind, "is not known", f"choose one of {', '.join(KINDS)}")
        if self.activation not in ACTIVATIONS:
            raise InputError("activation", self.activation, "is not known", f"choose one of {', '.join(ACTIVATIONS)}")
        if any(width < 0 for width in self.widths) or (self.kind != "vgg" and POOL in self.widths):
            raise InputError("widths", self.widths, "holds a width below 1", "give positive layer widths")


def build(architecture: Architecture, inputs: tuple[int, ...]) -> nn.Module:
    """The module for examples of shape ``inputs``: ``(d,)`` for an MLP, ``(channels, length)`` or ``(channels, h, w)``.

    Raises InputError when a convolutional network is asked of flat inputs.
    """
    if architecture.kind == "mlp":
        return _mlp(architecture, prod(inputs))
    if len(inputs) not in (2, 3):
        raise InputError("model", architecture.kind, f"needs images, not inputs of shape {inputs}", "use model mlp")
    widths = architecture.widths if architecture.kind == "vgg" else _pooled(architecture.widths)
    return _convolutional(architecture, inputs, widths)


def _mlp(architecture: Architecture, inputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((inputs, *architecture.widths), architecture.widths, strict=False):
        layers += [nn.Linear(before, after), ACTIVATIONS[architecture.activation]()]
    return nn.Sequential(*layers, nn.Linear((inputs, *architecture.widths)[-1], architecture.outputs))


def _pooled(widths: tuple[int, ...]) -> tuple[int, ...]:
    """A pooling layer after every convolution."""
    return tuple(entry for width in widths for entry in (width, POOL))


def _convolutional(architecture: Architecture, inputs: tuple[int, ...], widths: tuple[int, ...]) -> nn.Sequential:
    convolution, pooling = (nn.Conv1d, nn.MaxPool1d) if len(inputs) == 2 else (nn.Conv2d, nn.MaxPool2d)
    channels, sides = inputs[0], list(inputs[1:])
    layers: list[nn.Module] = []
    for width in widths:
        if width == POOL:
            layers.append(pooling(2))
            sides = [side // 2 for side in sides]
        else:
            layers += [convolution(channels, width, 3, padding=1), ACTIVATIONS[architecture.activation]()]
            channels = width
    if min(sides) < 1:
        raise InputError("widths", widths, f"pools images of shape {inputs} away", "use fewer pooling layers")
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(sides), architecture.outputs))
