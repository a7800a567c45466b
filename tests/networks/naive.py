"""Loop-by-loop twins of the batched routines, and tiny networks with known answers."""

import numpy as np
import torch
from torch import nn

from numerics.networks.draws import BLOCK, BatchSampler, flips, normals


class Product(nn.Module):
    """f(x) = u v x: one hidden linear unit; everything about it is known in closed form."""

    def __init__(self):
        super().__init__()
        self.u = nn.Parameter(torch.zeros(1))
        self.v = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.u * self.v * x


def jacobian(f, theta, x):
    """One backward pass per output."""
    rows = []
    for example in x:
        weights = theta.clone().requires_grad_()
        outputs = f(weights, example[None])[0]
        for value in outputs:
            (row,) = torch.autograd.grad(value, weights, retain_graph=True)
            rows.append(row)
    return torch.stack(rows)


def hessians(f, theta, x):
    """The Hessian ``(n, C, p, p)`` of every output, one by one."""
    per_output = []
    for example in x:
        outputs = f(theta, example[None])[0]
        per_output.append(
            torch.stack(
                [
                    torch.autograd.functional.hessian(lambda w, e=example, c=c: f(w, e[None])[0][c], theta)
                    for c in range(len(outputs))
                ]
            )
        )
    return torch.stack(per_output)


def sgd(model, examples, recipe, *, loss, seed, eta, sigma, flip, theta, steps, stream):
    """Label-noise SGD of one network, one step at a time, straight from its definition."""
    x = torch.as_tensor(examples.x)
    targets = torch.as_tensor(examples.targets(examples.labels))
    sampler = BatchSampler(len(x), recipe.batch or len(x), recipe.epochs)
    velocity = torch.zeros_like(theta)
    for step in range(steps):
        block, place = divmod(step, BLOCK)
        rows = (
            torch.arange(len(x))
            if recipe.batch is None
            else torch.as_tensor(sampler.indices(seed, stream, block)[place])
        )
        y = targets[rows].clone()
        if sigma and not flip:
            y += sigma * torch.as_tensor(normals(seed, stream, block, tuple(y.shape))[place])
        if sigma and flip:
            uniform, offset = flips(seed, stream, block, (len(rows),), examples.classes)
            for k in range(len(rows)):
                if uniform[place, k] < sigma:
                    old = int(y[k].argmax())
                    y[k] = torch.eye(examples.classes, dtype=y.dtype)[(old + int(offset[place, k])) % examples.classes]
        weights = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(model(weights, x[rows]), y), weights)
        velocity = recipe.momentum * velocity + gradient + recipe.weight_decay * theta
        theta = theta - eta * velocity
    return theta


def residual_covariance(kernel, outputs, eta, batch, sigma):
    """C by solving the stationarity equation as one dense linear system in all (nC)² unknowns."""
    size = len(kernel)
    n = size // outputs
    mask = np.kron(np.eye(n), np.ones((outputs, outputs)))

    def left(c):
        mean = (eta / n) * (kernel @ c + c @ kernel) - eta**2 * (1 - 1 / batch) / n**2 * kernel @ c @ kernel
        return mean - eta**2 / (batch * n) * kernel @ (mask * c) @ kernel

    matrix = np.stack([left(unit.reshape(size, size)).ravel() for unit in np.eye(size**2)], axis=1)
    right = eta**2 * sigma**2 / (batch * n) * kernel @ kernel
    return np.linalg.solve(matrix, right.ravel()).reshape(size, size)
