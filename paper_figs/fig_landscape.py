"""The model's landscape at depths 1, 2, 3 and 5 (C15): a closed test basin, a line of minima, a valley that narrows."""

from functools import partial

import numpy as np
import xarray
from matplotlib.figure import Figure
from scipy.optimize import brentq

from numerics.check import Check, Margin
from numerics.plotting import COLOURS, new_figure
from numerics.run.system import RadialSystem
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, radial

CLAIMS = ("C15",)
ALT = (
    "Top: four maps of the train loss over two parameters at depths 1, 2, 3 and 5. Minima form a curve; the valley "
    "around it is of even width at "
    "depth 1 and narrows away from the origin the more the deeper the model. Closed contours of the test loss "
    "surround one point. Bottom left: "
    "measured half-width of the valley against the norm, on the predicted lines. Bottom right: Hessian eigenvalues at "
    "the minimum-norm solution: "
    "the train Hessian has zeros, the test Hessian none."
)
DEPTHS = (1.0, 2.0, 3.0, 5.0)
_X = np.array([[0.8, 0.6]])
_W_STAR = np.array([0.9, 0.1])
_LEVEL = 0.02  # epsilon of the level set drawn
_EPSILON = 1e-8  # of the measured half-widths: small against the curvature's own changes
_HALF = 1.7


def predictor(u: FloatArray, depth: float) -> FloatArray:
    """w = |u|^(D-1) u of u ``(..., d)``, complex u too."""
    return np.asarray(np.sum(u**2, axis=-1, keepdims=True) ** ((depth - 1) / 2) * u)


def data(small: bool, seed: int) -> xarray.Dataset:
    """Losses on a grid of two parameters; half-widths and Hessians by their definitions."""
    grid = np.linspace(-_HALF, _HALF, 61 if small else 121)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    w = [predictor(points, D) for D in DEPTHS]
    train = np.array([0.5 * (v @ _X[0] - _X[0] @ _W_STAR) ** 2 for v in w])
    test = np.array([0.5 * np.sum((v - _W_STAR) ** 2, axis=-1) for v in w])
    systems = [radial(n=5, features=12, depth=D, seed=seed, replicas=2) for D in DEPTHS]
    norms = np.linspace(1.0, 3.0, 9)
    widths = np.array([[_widths(s, x) for x in norms] for s in systems])
    deep = systems[2]
    spectra = np.array([_spectrum(deep, test=False), _spectrum(deep, test=True)])
    zero = int(np.sum(spectra[0] < 1e-10 * spectra[0].max()))
    worst = float(np.max(np.abs(widths[..., 1] / widths[..., 0] - 1)))
    made = [
        Check("C15", "nullity of the train Hessian at w_mn", deep.problem.d - deep.problem.n, zero, 0.0, Margin(), 0.0),
        Check("C15", "largest relative error of the half-width", 0.0, worst, 0.0, Margin(model=0.01), 0.0),
    ]
    variables = {
        "u": var("i", grid, "parameter"),
        "depth": var("depth", np.array(DEPTHS), "depth D"),
        "train": var("depth i j", train.astype(np.float32), "train loss", "unit of y squared"),
        "test": var("depth i j", test.astype(np.float32), "test loss", "unit of y squared"),
        "minima": var("depth branch axis", np.array([_minima(D) for D in DEPTHS]), "minima manifold"),
        "norm": var("norm", norms, "|w| / |w_mn|"),
        "width": var(
            "depth norm kind", widths, "largest half-width of the valley over its value at w_mn: predicted, measured"
        ),
        "spectrum": var("loss eigenvalue", spectra, "Hessian eigenvalues at w_mn, train and test"),
    }
    return dataset("The model's landscape", variables, made, n=deep.problem.n, d=deep.problem.d, level=_LEVEL)


def _minima(depth: float) -> FloatArray:
    """The line X w = y in parameters, ``(points, 2)``."""
    direction = np.array([-_X[0, 1], _X[0, 0]])
    w = (_X[0] @ _W_STAR) * _X[0] + np.linspace(-16, 16, 4001)[:, None] * direction
    return np.asarray(w * np.linalg.norm(w, axis=1, keepdims=True) ** (1 / depth - 1))


def _widths(chosen: RadialSystem, norm: float) -> FloatArray:
    """Half-width in parameters along the softest normal over that at w_mn, at |w| = norm |w_mn|.

    Predicted, measured.
    """
    own, base = (_one_width(chosen, x) for x in (norm, 1.0))
    return np.asarray(own / base)


def _one_width(chosen: RadialSystem, norm: float) -> FloatArray:
    problem, depth = chosen.problem, chosen.settings.depth
    rho = problem.norm_w_mn * np.sqrt(norm**2 - 1)
    w = problem.w_mn + rho * chosen.direction
    u = w * np.linalg.norm(w) ** (1 / depth - 1)
    A = problem.X @ _jacobian(u, depth)
    values, vectors = np.linalg.eigh(A @ A.T)
    normal = A.T @ vectors[:, 0] / np.sqrt(values[0])
    predicted = np.sqrt(2 * _EPSILON * problem.n / values[0])

    def excess(t: float, sign: float) -> float:
        return float(problem.train_loss(predictor(u + sign * t * normal, depth))) - _EPSILON

    measured = np.mean([brentq(partial(excess, sign=s), 0.0, 10 * predicted, xtol=1e-16) for s in (-1.0, 1.0)])
    return np.array([predicted, measured])


def _jacobian(u: FloatArray, depth: float) -> FloatArray:
    """J ``(d, d)`` by complex steps."""
    return np.stack([np.imag(predictor(u + 1e-30j * e, depth)) * 1e30 for e in np.eye(u.size)], axis=1)


def _spectrum(chosen: RadialSystem, *, test: bool) -> FloatArray:
    """Eigenvalues of the Hessian at w_mn, largest first: complex steps of the gradient."""
    problem, depth = chosen.problem, chosen.settings.depth
    u = problem.w_mn * problem.norm_w_mn ** (1 / depth - 1)
    rows = np.eye(problem.d) if test else problem.X / np.sqrt(problem.n)
    target = np.eye(problem.d) @ problem.w_mn if test else problem.y / np.sqrt(problem.n)

    def gradient(v: FloatArray) -> FloatArray:
        r2 = np.sum(v**2)
        q = rows.T @ (rows @ predictor(v, depth) - target)
        return np.asarray(r2 ** ((depth - 1) / 2) * (q + (depth - 1) * v * (v @ q) / r2))

    H = np.stack([np.imag(gradient(u + 1e-30j * e)) * 1e30 for e in np.eye(u.size)])
    return np.asarray(np.maximum(np.linalg.eigvalsh((H + H.T) / 2)[::-1], 0.0))


def caption(data: xarray.Dataset) -> str:
    """Nullity and narrowing."""
    a, width = data.attrs, data["width"].values[:, -1]
    zeros = int(np.sum(data["spectrum"].values[0] < 1e-10 * data["spectrum"].values[0].max()))
    told = ", ".join(
        f"{100 * w[1]:.0f}% at D = {D:g} (predicted {100 * w[0]:.0f}%)" for D, w in zip(DEPTHS, width, strict=True)
    )
    return (
        f"The model's landscape (C15). (a–d) Train loss (colours; white: level set at {a['level']:g}; black: minima) "
        "and test loss (dashed) over both parameters of a model with d = 2, n = 1. "
        f"(e) When the norm triples the valley's largest half-width falls to {told}; n = {a['n']}, d = {a['d']}. (f) "
        "At the minimum-norm solution the train Hessian has "
        f"{zeros} zero eigenvalues, d − n = {a['d'] - a['n']}, the test Hessian (teacher at w_mn) none. "
        f"{checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Four maps above, widths and spectra below."""
    figure, (unused,) = new_figure(1, 1, width=7.2, height=4.5)
    unused.remove()
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.15))
    maps, panels = above.subplots(1, 4), below.subplots(1, 2)
    for i, ax in enumerate(maps):
        shown = _map(ax, data, i)
        ax.set_title(f"({'abcd'[i]}) depth {DEPTHS[i]:g}", loc="left")
    maps[0].set_ylabel("parameter $u_2$")
    above.colorbar(shown, ax=maps, label="train loss", ticks=[1e-4, 1e-2, 1], pad=0.01, aspect=14)
    _width_panel(panels[0], data)
    _spectrum_panel(panels[1], data)
    return figure


def _map(ax, data: xarray.Dataset, i: int):  # type: ignore[no-untyped-def]
    from matplotlib.colors import LogNorm

    u, train, test = data["u"].values, data["train"].values[i].T, data["test"].values[i].T
    shown = ax.pcolormesh(
        u, u, np.clip(train, 1e-4, 10), norm=LogNorm(1e-4, 10), cmap="viridis", shading="gouraud", rasterized=True
    )
    ax.contour(u, u, train, [data.attrs["level"]], colors="white", linewidths=1.0)
    ax.contour(u, u, test, [0.01, 0.05, 0.15, 0.35], colors=COLOURS["third"], linewidths=0.9, linestyles="--")
    x, y = data["minima"].values[i].T
    ax.plot(x, y, color="black", linewidth=1.1)
    star = predictor_inverse(_W_STAR, DEPTHS[i])
    ax.plot(*star, "o", markersize=4, color=COLOURS["third"], markeredgecolor="black")
    ax.set(
        xlim=(-_HALF, _HALF),
        ylim=(-_HALF, _HALF),
        xlabel="parameter $u_1$",
        aspect="equal",
        xticks=[-1, 0, 1],
        yticks=[-1, 0, 1],
    )
    ax.grid(False)
    return shown


def predictor_inverse(w: FloatArray, depth: float) -> FloatArray:
    """u with F(u) = w."""
    return np.asarray(w * np.linalg.norm(w) ** (1 / depth - 1))


def _width_panel(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    norm = data["norm"].values
    for i, (colour, symbol) in enumerate((("reference", "D"), ("second", "^"), ("simulation", "s"), ("law", "o"))):
        predicted, measured = data["width"].values[i].T
        ax.plot(norm, predicted, color=COLOURS[colour], label=f"D = {DEPTHS[i]:g}")
        ax.plot(norm, measured, symbol, color=COLOURS[colour], markerfacecolor="white", markersize=4)
    ax.set(xlabel=r"norm $|w|$ / $|w_{\rm mn}|$", ylabel=r"half-width / at $w_{\rm mn}$", yscale="log")
    ax.set_yticks([0.2, 0.5, 1.0], ["0.2", "0.5", "1"])
    ax.minorticks_off()
    ax.set_title("(e) valleys narrow with norm and depth", loc="left")
    ax.legend(title="line: law, points: measured", ncols=2, loc="lower left")


def _spectrum_panel(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    spectra = np.maximum(data["spectrum"].values, 1e-18)
    index = np.arange(1, spectra.shape[1] + 1)
    ax.plot(index, spectra[1], "s", color=COLOURS["third"], label="test Hessian: no zero")
    ax.plot(
        index,
        spectra[0],
        "o",
        color=COLOURS["simulation"],
        markerfacecolor="white",
        label=f"train Hessian: d − n = {data.attrs['d'] - data.attrs['n']} zeros (to rounding)",
    )
    ax.set(yscale="log", ylim=(3e-19, 1e5), xlabel="eigenvalue number", ylabel="eigenvalue")
    ax.set_title("(f) open train valley, closed test basin", loc="left")
    ax.legend(loc="center right")
