"""What the explorer shows: three panels of curves, the landscape at the chosen depth, and one line of text."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from numerics.plotting import COLOURS
from paper_figs.explorer_law import Curves, FloatArray, Setting
from paper_figs.svg import Panel, Surface

Simulated = dict[str, FloatArray] | None
_HALF = 1.7
_FACES = 24  # along an edge: drawn in milliseconds
_TOP_LOSS = 2.0
_X, _W_STAR = np.array([0.8, 0.6]), np.array([0.9, 0.1])


def panels(curves: Curves, simulated: Simulated) -> str:
    """rho, train loss and test loss side by side."""
    return "".join(make(curves, simulated) for make in (rho_panel, train_panel, test_panel))


def _after(curves: Curves, values: FloatArray, end: float) -> tuple[FloatArray, FloatArray]:
    """A curve up to the decay, then its value frozen."""
    before = curves.step <= curves.decay_step
    x = np.concatenate([curves.step[before], [curves.decay_step, curves.horizon]])
    return x, np.concatenate([values[before], [end, end]])


def _decay_line(panel: Panel, curves: Curves) -> None:
    panel.line([curves.decay_step] * 2, panel.ylim, COLOURS["reference"], dash="2 3", width=1)


def rho_panel(curves: Curves, simulated: Simulated) -> str:
    """Distance from the minimum-norm solution."""
    top = 1.15 * max(float(curves.rho.max()), float(curves.small_eta[:1].max()))
    panel = Panel("distance from the minimum-norm solution", "SGD step", "ρ / |w_mn|", (0, curves.horizon), (0, top))
    panel.line(curves.step, curves.small_eta, COLOURS["small-eta"], dash="6 4", name="law, η → 0", width=1.5)
    panel.line(curves.step, curves.rho, COLOURS["law"], dash="1 4", width=1.2)
    panel.line(*_after(curves, curves.rho, curves.decay_rho), COLOURS["law"], name="law, with decay")
    _decay_line(panel, curves)
    _simulated(panel, simulated, "rho")
    return panel.text(f"rho falls from {curves.rho[0]:.3g} to {curves.decay_rho:.3g} at the decay")


def train_panel(curves: Curves, simulated: Simulated) -> str:
    """Train loss at its floor."""
    low, high = 0.4 * min(curves.floor_after, float(curves.floor.min())), 2.5 * float(curves.floor.max())
    panel = Panel("train loss", "SGD step", "train loss", (0, curves.horizon), (low, high), log=True)
    panel.line(*_after(curves, curves.floor, curves.floor_after), COLOURS["law"], name="floor by the law")
    _decay_line(panel, curves)
    _simulated(panel, simulated, "loss")
    return panel.text(f"train loss {curves.floor[0]:.3g}, after the decay {curves.floor_after:.3g}")


def test_panel(curves: Curves, simulated: Simulated) -> str:
    """Test loss, and what it would be for a decay at each step."""
    final = float(np.interp(curves.decay_step, curves.step, curves.test_loss))
    high, low = float(curves.test_loss.max()), min(curves.best, float(curves.test_loss.min()))
    margin = 0.15 * (high - low) + 1e-9 * high + 1e-12
    panel = Panel("test loss", "SGD step", "test loss", (0, curves.horizon), (low - margin, high + 2 * margin))
    panel.line(
        [0, curves.horizon],
        [curves.best] * 2,
        COLOURS["reference"],
        dash="2 3",
        name="minimum-norm solution",
        width=1.2,
    )
    panel.line(curves.step, curves.test_loss, COLOURS["law"], dash="1 4", name="without decay", width=1.2)
    panel.line(*_after(curves, curves.test_loss, final), COLOURS["law"], name="with decay")
    _decay_line(panel, curves)
    _simulated(panel, simulated, "test_loss")
    return panel.text(f"final test loss {final:.4g}, {curves.best:.4g} at the minimum-norm solution")


def _simulated(panel: Panel, simulated: Simulated, name: str) -> None:
    if simulated is not None:
        panel.points(simulated["step"][1:], *simulated[name][1:].T, COLOURS["simulation"], name="SGD")


@lru_cache(maxsize=1)
def _colours() -> npt.NDArray[np.uint8]:
    from matplotlib import colormaps

    return (colormaps["viridis"](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)


def landscape(depth: float, azimuth: float) -> str:
    """Train loss over two parameters at this depth as a surface, its minima and the test loss's minimum."""
    grid = np.linspace(-_HALF, _HALF, _FACES + 1)
    u = np.stack(np.meshgrid(grid, grid), axis=-1)
    surface = Surface(f"train landscape at depth {depth:g}", _HALF, _height(train_loss(u, depth)), azimuth)
    surface.faces(_colours())
    valley = minima(depth)
    for colour, width in (("white", 3.0), ("black", 1.6)):
        surface.line(*valley.T, np.zeros(len(valley)), colour, width=width)
    star = _W_STAR * np.linalg.norm(_W_STAR) ** (1 / depth - 1)
    surface.mark(*star, 0.0, COLOURS["law"], "test minimum")
    surface.axes("u₁", "u₂")
    return surface.text(
        f"train loss over two parameters at depth {depth:g}, seen from {azimuth:g} degrees: "
        "the valley of minima narrows away from the origin"
    )


def minima(depth: float) -> FloatArray:
    """Points u ``(400, 2)`` along the manifold of minima: F(u) = w with x . w = x . w_star."""
    line = (_X @ _W_STAR) * _X + np.linspace(-12, 12, 400)[:, None] * np.array([-_X[1], _X[0]])
    return np.asarray(line * np.linalg.norm(line, axis=1, keepdims=True) ** (1 / depth - 1))


def train_loss(u: FloatArray, depth: float) -> FloatArray:
    """(1/2)(x . F(u) - x . w_star)^2 of one row x, for u ``(..., 2)``."""
    w = np.sum(u**2, axis=-1, keepdims=True) ** ((depth - 1) / 2) * u
    return np.asarray(0.5 * (w @ _X - _X @ _W_STAR) ** 2)


def _height(loss: FloatArray) -> FloatArray:
    """A height in [0, 1] that shows small losses too: the square root, cut at the top."""
    return np.asarray(np.minimum(np.sqrt(loss / _TOP_LOSS), 1.0))


def sentence(setting: Setting, curves: Curves) -> str:
    """What the law says here, in words."""
    end = (
        "The drift goes all the way to the minimum-norm solution"
        if curves.selected
        else "The flattest minimum is not the minimum-norm solution: the drift stops before it"
    )
    if setting.depth == 1:
        end = "Depth 1 has one curvature everywhere: nothing drifts"
    final = float(np.interp(curves.decay_step, curves.step, curves.test_loss))
    return (
        f"η = {curves.eta:.4g}. {end}. A decay at step {curves.decay_step:,.0f} ends at test loss {final:.4g}; "
        f"the minimum-norm solution has {curves.best:.4g}."
    )
