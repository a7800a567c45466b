"""The mean-square stability limit against the batch size (C9)."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value
from numerics.noise_floor import stability_limit
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run.system import RadialSystem
from numerics.sgd import Noise, RadialSGD
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, radial

CLAIMS = ("C9",)
ALT = (
    "Left: largest stable learning rate, as a share of gradient descent's, against batch size: it rises from a fifth "
    "to one; simulated points lie on the "
    "line. Right: growth of the squared residual per step against the learning rate for three batch sizes: each curve "
    "crosses one at its predicted limit."
)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SHOWN = (1, 4, 32)
RESOLUTION = 0.04
_HORIZON = 6  # steps: more would hide the mean in rare large values
_SMALL = 1e-7  # relative size of the residual: the linearised dynamics


def data(small: bool, seed: int) -> xarray.Dataset:
    """Limit by the law; growth of E|q|^2 in SGD started from its own leading covariance, and where it crosses 1."""
    chosen = radial(n=5, features=20, depth=2.0, seed=seed, replicas=2)
    K = chosen.manifold.kernel(chosen.rho0)
    batches = (1, 4, 32) if small else BATCHES
    replicas, shares = 20_000 if small else 200_000, np.array([0.85, 0.925, 1.0, 1.075, 1.15])
    grid = np.unique(np.geomspace(1, 100, 40).round())
    limits = np.array([stability_limit(K, batch=b) for b in batches])
    growth = np.array(
        [
            [_growth(chosen, K, s * limit, b, replicas, seed) for s in shares]
            for b, limit in zip(batches, limits, strict=True)
        ]
    )
    crossing = np.array([_crossing(shares, table) for table in growth])
    critical = critical_value(len(batches), replicas)
    made = [
        Check(
            "C9",
            f"simulated limit / predicted, B = {b}",
            1.0,
            float(c[0]),
            float(c[1]),
            Margin(resolution=RESOLUTION),
            critical,
        )
        for b, c in zip(batches, crossing, strict=True)
    ]
    descent = 2 * len(K) / np.linalg.eigvalsh(K)[-1]
    variables = {
        "batch": var("grid", grid, "batch size"),
        "limit": var(
            "grid",
            np.array([stability_limit(K, batch=int(b)) for b in grid]) / descent,
            "stability limit over gradient descent's",
        ),
        "batch_simulated": var("point", np.array(batches), "batch size"),
        "share": var("share", shares, "learning rate over the predicted limit"),
        "growth": var("point share moment", growth, "growth of E|q|^2 per step, mean and standard error"),
        "crossing": var("point moment", crossing, "simulated over predicted limit, mean and standard error"),
        "limit_at": var("point", limits / descent, "stability limit over gradient descent's"),
    }
    return dataset("Mean-square stability", variables, made, replicas=replicas, n=5, d=20, depth=2.0, horizon=_HORIZON)


def second_moment_step(K: FloatArray, eta: float, batch: int) -> FloatArray:
    """Matrix ``(n^2, n^2)`` of C_next as a function of C, label noise off (C2)."""
    n = len(K)
    mean = np.eye(n) - eta * K / n
    pick = np.zeros((n * n, n * n))
    pick[np.arange(n) * (n + 1), np.arange(n) * (n + 1)] = 1.0
    return np.asarray(np.kron(mean, mean) + eta**2 / batch * np.kron(K, K) @ (pick / n - np.eye(n * n) / n**2))


def _leading(K: FloatArray, eta: float, batch: int) -> FloatArray:
    """A root ``(n, n)`` of the covariance that grows fastest."""
    values, vectors = np.linalg.eig(second_moment_step(K, eta, batch))
    C = np.real(vectors[:, np.argmax(np.abs(values))]).reshape(len(K), len(K))
    w, U = np.linalg.eigh(C * np.sign(np.trace(C)))
    return np.asarray(U * np.sqrt(np.maximum(w, 0) / w.sum()))


def _growth(chosen: RadialSystem, K: FloatArray, eta: float, batch: int, replicas: int, seed: int) -> FloatArray:
    """(E|q_T|^2 / E|q_0|^2)^(1/T) and its standard error: SGD with tiny residuals and no label noise."""
    n, u = len(K), chosen.states_on_manifold()[0]
    draws = np.random.Generator(np.random.Philox(seed)).standard_normal((replicas, n))
    q = _SMALL * draws @ _leading(K, eta, batch).T
    states = _shifted(chosen, u, q, K)
    noise = Noise(batch, 0.0, seed)
    before = _squares(chosen.model, states, chosen.problem.y)
    chosen.model.advance(states, np.arange(replicas), np.full(_HORIZON, eta), noise, 0)
    after = _squares(chosen.model, states, chosen.problem.y)
    ratio = after.mean() / before.mean()
    relative = np.std(after / after.mean() - before / before.mean(), ddof=1) / np.sqrt(replicas)
    mean = ratio ** (1 / _HORIZON)
    return np.array([mean, mean * relative / _HORIZON])


def _shifted(chosen: RadialSystem, state: FloatArray, q: FloatArray, K: FloatArray) -> FloatArray:
    """States whose residuals are q to first order: u + A^T K^-1 q in the coordinates (X u, |u|^2, zhat . u)."""
    n = len(K)
    reduced, manifold = chosen.reduced, chosen.manifold
    c = np.append(np.linalg.solve(reduced.factor, state[:n]), state[n + 1])
    r = np.linalg.norm(c)
    level, slope = manifold.functions["norm"](r) / r, manifold.functions["norm_slope"](r)
    J = level * np.eye(n + 1) + (slope - level) * np.outer(c, c) / r**2
    A = np.hstack([reduced.factor, np.zeros((n, 1))]) @ J
    points = c + q @ np.linalg.solve(K, A)
    return np.column_stack([points[:, :n] @ reduced.factor.T, np.sum(points**2, axis=1), points[:, n]])


def _squares(model: RadialSGD, states: FloatArray, y: FloatArray) -> FloatArray:
    """|q|^2 of states ``(R,)``."""
    n = y.size
    level = np.array([model.kernel.gain.py_func(q) for q in states[:, n]])
    return np.asarray(np.sum((level[:, None] * states[:, :n] - y) ** 2, axis=1))


def _crossing(shares: FloatArray, table: FloatArray) -> FloatArray:
    """Where the growth crosses 1 along the shares, by a quadratic fit, and its standard error."""
    fit = np.polynomial.Polynomial.fit(shares, table[:, 0], 2)
    roots = (fit - 1).roots()
    at = float(np.real(roots[np.argmin(np.abs(roots - 1))]))
    return np.array([at, float(np.mean(table[:, 1])) / abs(fit.deriv()(at))])


def caption(data: xarray.Dataset) -> str:
    """Limits at the smallest and largest batch."""
    a, b, limit, cross = data.attrs, data["batch_simulated"].values, data["limit_at"].values, data["crossing"].values
    return (
        "How large a learning rate SGD tolerates (C9): the second moment of the residual stays bounded up to "
        f"{limit[0]:.0%} of gradient descent's limit at B = {b[0]}, {limit[-1]:.0%} at B = {b[-1]}. "
        f"The simulated limit is {cross[0, 0]:.3f} ± {cross[0, 1]:.3f} times the predicted one at B = {b[0]}, "
        f"{cross[-1, 0]:.3f} ± {cross[-1, 1]:.3f} at B = {b[-1]}. n = 5, d = 20, D = 2; "
        f"{a['replicas']:,} runs of {a['horizon']} steps, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Limit against batch, growth against learning rate."""
    figure, (left, right) = new_figure(1, 2, height=2.8)
    left.plot(data["batch"], data["limit"], color=COLOURS["law"], label="law (C9)")
    limit, (cross, sem) = data["limit_at"].values, data["crossing"].values.T
    markers(left, data["batch_simulated"].values, limit * cross, limit * sem, "SGD: growth crosses 1")
    left.axhline(1, color=COLOURS["reference"], linestyle=":", label="gradient descent")
    left.set(
        xscale="log",
        xlabel="batch size B",
        ylabel="stability limit / that of gradient descent",
        ylim=(0, 1.08),
        title="larger batches allow larger rates",
    )
    left.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    left.legend(loc="lower right")
    for b, colour, symbol in zip(SHOWN, ("law", "simulation", "second"), ("o", "s", "^"), strict=True):
        i = list(data["batch_simulated"].values).index(b)
        mean, sem = data["growth"].values[i].T
        markers(right, data["share"].values, mean, sem, f"SGD, B = {b}", colour=colour, symbol=symbol)
        right.plot(data["share"], mean, color=COLOURS[colour], linewidth=0.8, alpha=0.6)
    right.axhline(1, color=COLOURS["reference"], linewidth=0.8)
    right.axvline(1, color=COLOURS["law"], linewidth=1.2)
    right.annotate(
        "law",
        (1, 0.02),
        (3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=COLOURS["law"],
        fontsize=8,
    )
    right.set(
        xlabel=r"learning rate $\eta$ / predicted limit",
        ylabel=r"growth of E$|q|^2$ per step",
        title="growth starts at the limit",
    )
    right.legend(loc="upper left")
    letter([left, right])
    return figure
