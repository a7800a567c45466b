"""Peers of `bench` made for SDEs: torchsde and diffrax, each given the noise as a product, never as a matrix."""

from typing import Any

import numpy as np

from numerics.bench.peers import Losses, Run, losses
from numerics.bench.problem import SIGMA, Task


def drift_and_noise(xp: Any, task: Task, U: Any, X: Any, y: Any, dW: Any) -> tuple[Any, Any]:
    """-grad L ``(R, m)``, and sqrt(eta) Sigma^(1/2) dW for increments dW ``(R, n)``."""
    n = y.shape[0]
    q, score = (U * U).sum(-1)[:, None], U @ X.T
    e = q * score - y
    a = xp.sqrt((e * e + SIGMA**2) / n)
    v = e / (n * a)
    share = (v * v).sum(-1)[:, None]
    along = (1 - xp.sqrt(1 - share)) / share * (v * dW).sum(-1)[:, None]
    c = (task.eta / task.batch) ** 0.5 * a * (dW - along * v)

    def pulled(h: Any) -> Any:
        return q * (h @ X) + 2 * (h * score).sum(-1)[:, None] * U

    return pulled(-e / n), pulled(c)


def torchsde_engine(kind: str, task: Task) -> Run:
    """torchsde.sdeint, method euler, with f and g-product computed together."""
    import torch
    import torchsde

    torch.manual_seed(task.seed)
    X, y, U = (torch.from_numpy(part) for part in task.cast())

    class Equation(torch.nn.Module):
        sde_type, noise_type = "ito", "general"

        def f_and_g_prod(self, t: Any, u: Any, dW: Any) -> Any:
            return drift_and_noise(torch, task, u, X, y, dW)

    @torch.no_grad()
    def run(steps: int) -> Losses:
        nonlocal U
        times = torch.tensor([0.0, steps * task.eta], dtype=X.dtype)
        motion = torchsde.BrownianInterval(0.0, times[1], size=(task.replicas, len(y)), dtype=X.dtype, dt=task.eta)
        U = torchsde.sdeint(Equation(), U, times, bm=motion, dt=task.eta, method="euler")[-1]
        return lambda: losses(kind, U.numpy(), task)

    return run


def diffrax_engine(kind: str, task: Task) -> Run:
    """diffrax.Euler under vmap, Brownian increments drawn step by step (UnsafeBrownianPath)."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]
    X, y, U = (jnp.asarray(part) for part in task.cast())
    n = len(y)
    control = jax.ShapeDtypeStruct((n,), X.dtype)  # type: ignore[no-untyped-call,unused-ignore]

    def drift(t, u, args):  # type: ignore[no-untyped-def]
        return drift_and_noise(jnp, task, u[None], X, y, jnp.zeros((1, n), X.dtype))[0][0]

    def noise(t, u, args):  # type: ignore[no-untyped-def]
        product = lambda dW: drift_and_noise(jnp, task, u[None], X, y, dW[None])[1][0]  # noqa: E731
        return lineax.FunctionLinearOperator(product, control)

    def path(u, key, steps):  # type: ignore[no-untyped-def]
        motion = diffrax.UnsafeBrownianPath(control, key)
        terms: Any = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(noise, motion))
        solution = diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            0.0,
            steps * task.eta,
            task.eta,
            u,
            max_steps=steps + 2,
            adjoint=diffrax.ForwardMode(),
            saveat=diffrax.SaveAt(t1=True),
            throw=False,
        )
        return solution.ys[0]

    many = jax.jit(jax.vmap(path, in_axes=(0, 0, None)), static_argnums=2)
    key = jax.random.key(task.seed)

    def run(steps: int) -> Losses:
        nonlocal U, key
        key, use = jax.random.split(key)
        U = many(U, jax.random.split(use, task.replicas), steps).block_until_ready()
        return lambda: losses(kind, np.asarray(U), task)

    return run
