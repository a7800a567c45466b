"""Label-noise SGD, Radial depth 3, by several engines, one per process: `python -m numerics.bench_peers ENGINE ...`.

Every engine runs the same algorithm on the same problem in float64, draws its own rows and normals, and reports
replica-steps per second and the mean train loss at the end. "reduced" engines work on the n + 1 coordinates of C12.
Writes one line of JSON.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Run = Callable[[int], float]  # steps -> mean train loss of the replicas afterwards

DEPTH, SIGMA, SHARE = 3, 0.05, 0.3
WARM_UP = 20


def make_arrays(n: int, d: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """X ``(n, d)``, y ``(n,)`` and a start u ``(d,)`` near the manifold."""
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, d)) / np.sqrt(d)
    y = X @ draw.standard_normal(d)
    w = np.linalg.lstsq(X, y, rcond=None)[0]
    w += 0.5 * np.linalg.norm(w) * (null := _null(X, draw)) / np.linalg.norm(null)
    return X, y, w * np.linalg.norm(w) ** (1 / DEPTH - 1)


def _null(X: FloatArray, draw: np.random.Generator) -> FloatArray:
    z = draw.standard_normal(X.shape[1])
    return np.asarray(z - np.linalg.lstsq(X, X @ z, rcond=None)[0], dtype=np.float64)


def learning_rate(X: FloatArray, y: FloatArray, u: FloatArray) -> float:
    """A share of 2n / lambda_max(K) / n, safely stable for every batch."""
    r2 = float(u @ u)
    K = r2 ** (DEPTH - 1) * X @ X.T + (DEPTH**2 - 1) / r2 * np.outer(y, y)
    return SHARE / float(np.linalg.eigvalsh(K)[-1])


def compact(X: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The problem in an orthonormal basis of span(rows of X, u): X ``(n, n + 1)``, u ``(n + 1,)``."""
    basis = np.linalg.qr(np.vstack([X, u]).T)[0]
    return np.ascontiguousarray(X @ basis), u @ basis


def ours(X: FloatArray, y: FloatArray, u: FloatArray, eta: float, batch: int, replicas: int, reduced: bool) -> Run:
    """latedecay's kernels, on as many threads as cores."""
    from numerics.problem import Problem
    from numerics.schedule import Constant
    from numerics.sgd import FullRadialSGD, Noise, RadialSGD, simulate
    from numerics.start import null_direction
    from theory import notation
    from theory.parametrization import Radial

    problem, parametrization = Problem(X, y), Radial("radial", notation.r ** (DEPTH - 1))
    scale = 10 * float(np.linalg.norm(u)) ** DEPTH
    direction = null_direction(problem, 0, u)
    model = (
        RadialSGD(problem.reduced(direction), parametrization, scale)
        if reduced
        else FullRadialSGD(problem, parametrization, scale)
    )
    states, at = model.start(u, replicas), 0

    def run(steps: int) -> float:
        nonlocal at
        noise, span = Noise(batch, SIGMA, 0), np.array([at, at + steps])
        table = simulate(model, states, Constant(eta), span, noise=noise, threads=os.cpu_count() or 1)
        at += steps
        return float(np.mean(table["loss"][-1]))

    return run


def numpy_engine(X: FloatArray, y: FloatArray, u: FloatArray, eta: float, batch: int, replicas: int) -> Run:
    """All replicas at once, a Python loop over steps."""
    draw, U, n = np.random.default_rng(0), np.tile(u, (replicas, 1)), len(y)

    def run(steps: int) -> float:
        nonlocal U
        for _ in range(steps):
            rows = draw.integers(0, n, (replicas, batch))
            A, q = X[rows], np.sum(U**2, axis=1)
            score = np.einsum("rbd,rd->rb", A, U)
            error = q[:, None] * score - y[rows] - SIGMA * draw.standard_normal((replicas, batch))
            error *= eta / batch
            U = U * (1 - 2 * np.sum(error * score, axis=1))[:, None] - np.einsum("rb,rbd->rd", error * q[:, None], A)
        return float(np.mean((np.sum(U**2, axis=1)[:, None] * (U @ X.T) - y) ** 2) / 2)

    return run


def torch_engine(X: FloatArray, y: FloatArray, u: FloatArray, eta: float, batch: int, replicas: int) -> Run:
    """The same with torch tensors, eager."""
    import torch

    torch.manual_seed(0)
    Xt, yt, n = torch.from_numpy(X), torch.from_numpy(y), len(y)
    U = torch.from_numpy(np.tile(u, (replicas, 1)))

    @torch.no_grad()
    def run(steps: int) -> float:
        nonlocal U
        for _ in range(steps):
            rows = torch.randint(0, n, (replicas, batch))
            A, q = Xt[rows], (U**2).sum(1)
            score = torch.einsum("rbd,rd->rb", A, U)
            noise = torch.randn(replicas, batch, dtype=torch.float64)
            error = (q[:, None] * score - yt[rows] - SIGMA * noise) * (eta / batch)
            U = U * (1 - 2 * (error * score).sum(1))[:, None] - torch.einsum("rb,rbd->rd", error * q[:, None], A)
        return float((((U**2).sum(1)[:, None] * (U @ Xt.T) - yt) ** 2).mean() / 2)

    return run


def jax_engine(X: FloatArray, y: FloatArray, u: FloatArray, eta: float, batch: int, replicas: int) -> Run:
    """scan over steps, vmap over replicas, compiled; threefry."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]
    Xj, yj, n = jnp.asarray(X), jnp.asarray(y), len(y)

    def step(state, key):  # type: ignore[no-untyped-def]
        rows_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (batch,), 0, n)
        A, q = Xj[rows], jnp.dot(state, state)
        score = A @ state
        error = (q * score - yj[rows] - SIGMA * jax.random.normal(noise_key, (batch,))) * (eta / batch)
        return state * (1 - 2 * jnp.dot(error, score)) - (error * q) @ A, None

    def path(state, key, steps):  # type: ignore[no-untyped-def]
        return jax.lax.scan(step, state, jax.random.split(key, steps))[0]

    many = jax.jit(jax.vmap(path, in_axes=(0, 0, None)), static_argnums=2)
    U, key = jnp.tile(jnp.asarray(u), (replicas, 1)), jax.random.key(0)

    def run(steps: int) -> float:
        nonlocal U, key
        key, use = jax.random.split(key)
        U = many(U, jax.random.split(use, replicas), steps).block_until_ready()
        return float(jnp.mean((jnp.sum(U**2, 1)[:, None] * (U @ Xj.T) - yj) ** 2) / 2)

    return run


PEERS = {"numpy": numpy_engine, "torch": torch_engine, "jax": jax_engine}
ENGINES = ("latedecay-reduced", "latedecay-full", *(f"{peer}-{kind}" for peer in PEERS for kind in ("full", "reduced")))


def installed(engine: str) -> bool:
    """Whether the engine's library is here."""
    library = engine.split("-")[0]
    return library == "latedecay" or importlib.util.find_spec(library) is not None


def make_run(engine: str, n: int, d: int, batch: int, replicas: int) -> Run:
    """The engine on the problem (n, d)."""
    X, y, u = make_arrays(n, d)
    eta = learning_rate(X, y, u)
    library, kind = engine.split("-")
    if library == "latedecay":
        return ours(X, y, u, eta, batch, replicas, kind == "reduced")
    if kind == "reduced":
        X, u = compact(X, u)
    return PEERS[library](X, y, u, eta, batch, replicas)


def measure(run: Run, replicas: int, seconds: float) -> dict[str, float]:
    """Replica-steps per second over about the given time, the mean loss after it, CPU seconds per wall second."""
    run(WARM_UP)
    steps = WARM_UP
    while True:  # calls of one length, so that compiled engines compile it once, outside the clock
        run(steps)
        begin, cpu = time.perf_counter(), time.process_time()
        loss = run(steps)
        wall, busy = time.perf_counter() - begin, time.process_time() - cpu
        if wall > seconds / 2:
            return {"rate": replicas * steps / wall, "loss": loss, "cores": busy / wall}
        steps = int(steps * min(max(seconds / max(wall, 1e-3), 2), 50))


def main() -> None:
    """Measure one engine and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    for name in ("n", "d", "batch", "replicas"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    run = make_run(options.engine, options.n, options.d, options.batch, options.replicas)
    print(json.dumps(measure(run, options.replicas, options.seconds)))


if __name__ == "__main__":
    main()
