"""Peers of `bench` on NumPy, torch and JAX: the same step of the same process, each with its own random numbers.

An engine takes a `Task` and returns run: so many more steps, and a function that gives the train losses ``(R,)`` then,
which is not timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics.bench.problem import SIGMA, FloatArray, Task

Losses = Callable[[], FloatArray]
Run = Callable[[int], Losses]


def sgd_step(xp: Any, task: Task, U: Any, A: Any, labels: Any, xi: Any) -> Any:
    """Radial depth 3: U ``(R, m)``, rows A ``(R, B, m)``, labels and xi ``(R, B)``."""
    q = (U * U).sum(-1)
    score = xp.einsum("rbd,rd->rb", A, U)
    error = (q[:, None] * score - labels - SIGMA * xi) * (task.eta / task.batch)
    keep = 1 - 2 * (error * score).sum(-1)
    return keep[:, None] * U - q[:, None] * xp.einsum("rb,rbd->rd", error, A)


def separable_step(xp: Any, task: Task, U: Any, A: Any, labels: Any, xi: Any) -> Any:
    """Coordinatewise depth 3: w = u^3."""
    square = U * U
    error = xp.einsum("rbd,rd->rb", A, square * U) - labels - SIGMA * xi
    return U - (3 * task.eta / task.batch) * square * xp.einsum("rb,rbd->rd", error, A)


def sde_step(xp: Any, task: Task, U: Any, X: Any, y: Any, xi: Any) -> Any:
    """Euler-Maruyama, Radial depth 3, time step eta: U ``(R, m)``, xi ``(R, n)``."""
    n = y.shape[0]
    q, score = (U * U).sum(-1)[:, None], U @ X.T
    e = q * score - y
    a = xp.sqrt((e * e + SIGMA**2) / n)
    v = e / (n * a)
    share = (v * v).sum(-1)[:, None]
    along = (1 - xp.sqrt(1 - share)) / share * (v * xi).sum(-1)[:, None]
    h = (task.eta / task.batch**0.5) * a * (xi - along * v) - (task.eta / n) * e
    return U + q * (h @ X) + 2 * (h * score).sum(-1)[:, None] * U


STEPS: dict[str, Any] = {"sgd": sgd_step, "separable": separable_step}


def losses(kind: str, U: FloatArray, task: Task) -> FloatArray:
    """Train losses ``(R,)`` of states ``(R, m)``, in float64."""
    U = np.asarray(U, float)
    w = U**3 if kind == "separable" else np.sum(U**2, axis=1)[:, None] * U
    return np.asarray(np.mean((w @ task.X.T - task.y) ** 2, axis=1) / 2)


def numpy_engine(kind: str, task: Task) -> Run:
    """All replicas at once, a Python loop over steps."""
    (X, y, U), draw = task.cast(), np.random.default_rng(task.seed)
    n, normal = len(y), {"dtype": X.dtype.type}

    def step(U: Any) -> Any:
        if kind == "sde":
            return sde_step(np, task, U, X, y, draw.standard_normal((len(U), n), **normal))
        rows = draw.integers(0, n, (len(U), task.batch))
        return STEPS[kind](np, task, U, X[rows], y[rows], draw.standard_normal(rows.shape, **normal))

    def run(steps: int) -> Losses:
        nonlocal U
        for _ in range(steps):
            U = step(U)
        return lambda: losses(kind, U, task)

    return run


def torch_engine(kind: str, task: Task, compiled: bool = False) -> Run:
    """The same with torch tensors, eager or through torch.compile."""
    import torch

    torch.manual_seed(task.seed)
    X, y, U = (torch.from_numpy(part) for part in task.cast())
    n = len(y)

    def step(U: Any) -> Any:
        if kind == "sde":
            return sde_step(torch, task, U, X, y, torch.randn(U.shape[0], n, dtype=X.dtype))
        rows = torch.randint(0, n, (U.shape[0], task.batch))
        return STEPS[kind](torch, task, U, X[rows], y[rows], torch.randn(rows.shape, dtype=X.dtype))

    advance = torch.compile(step) if compiled else step

    @torch.no_grad()
    def run(steps: int) -> Losses:
        nonlocal U
        for _ in range(steps):
            U = advance(U)
        return lambda: losses(kind, U.numpy(), task)

    return run


def compiled_engine(kind: str, task: Task) -> Run:
    """torch.compile."""
    return torch_engine(kind, task, compiled=True)


def jax_engine(kind: str, task: Task, generator: str = "threefry2x32") -> Run:
    """scan over steps, vmap over replicas, compiled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]
    X, y, U = (jnp.asarray(part) for part in task.cast())
    n = len(y)

    def step(u, key):  # type: ignore[no-untyped-def]
        if kind == "sde":
            return sde_step(jnp, task, u[None], X, y, jax.random.normal(key, (1, n), X.dtype))[0], None
        rows_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (1, task.batch), 0, n)
        xi = jax.random.normal(noise_key, rows.shape, X.dtype)
        return STEPS[kind](jnp, task, u[None], X[rows], y[rows], xi)[0], None

    def path(u, key, steps):  # type: ignore[no-untyped-def]
        return jax.lax.scan(step, u, jax.random.split(key, steps))[0]

    many = jax.jit(jax.vmap(path, in_axes=(0, 0, None)), static_argnums=2)
    key = jax.random.key(task.seed, impl=generator)

    def run(steps: int) -> Losses:
        nonlocal U, key
        key, use = jax.random.split(key)
        U = many(U, jax.random.split(use, task.replicas), steps).block_until_ready()
        return lambda: losses(kind, np.asarray(U), task)

    return run


def rbg_engine(kind: str, task: Task) -> Run:
    """JAX with the generator that the hardware's own instruction backs."""
    return jax_engine(kind, task, "rbg")
