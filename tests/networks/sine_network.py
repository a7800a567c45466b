"""The slow law and label-noise SGD on another network, written a second time in plain numpy with derivatives by hand.

f(x) = Σ_k v_k sin(w_k·x + b_k). Nothing here uses the package, torch or automatic differentiation: gradients and dense
Hessians are formulas, C solves the full n²-unknown system of theory.md's C2 with Kronecker products, the path on M is
Runge–Kutta of fixed step.
"""

import numpy as np


def split(theta, d):
    """w ``(m, d)`` and b joined to ``(m, d + 1)``, v ``(m,)``; theta holds w row by row, then b, then v."""
    m = len(theta) // (d + 2)
    return np.column_stack([theta[: m * d].reshape(m, d), theta[m * d : m * (d + 1)]]), theta[m * (d + 1) :]


def order(m, d):
    """Positions in theta of (w_k, b_k, v_k) for each unit k, ``(m, d + 2)``."""
    units = np.arange(m)
    return np.column_stack([units[:, None] * d + np.arange(d), m * d + units, m * (d + 1) + units])


def outputs(theta, x):
    """f ``(n,)``."""
    w, v = split(theta, x.shape[1])
    return np.sin(np.column_stack([x, np.ones(len(x))]) @ w.T) @ v


def gradients(theta, x):
    """Rows ∇f_i ``(n, p)``."""
    w, v = split(theta, x.shape[1])
    ones = np.column_stack([x, np.ones(len(x))])
    z = ones @ w.T
    by_unit = np.concatenate([(v * np.cos(z))[:, :, None] * ones[:, None, :], np.sin(z)[:, :, None]], axis=2)
    rows = np.empty((len(x), len(theta)))
    rows[:, order(len(v), x.shape[1]).ravel()] = by_unit.reshape(len(x), -1)
    return rows


def hessian(theta, example):
    """∇²f ``(p, p)`` at one example: a block per unit."""
    d = len(example)
    w, v = split(theta, d)
    one = np.append(example, 1.0)
    whole = np.zeros((len(theta), len(theta)))
    for k, place in enumerate(order(len(v), d)):
        z = one @ w[k]
        block = np.zeros((d + 2, d + 2))
        block[:-1, :-1] = -v[k] * np.sin(z) * np.outer(one, one)
        block[:-1, -1] = block[-1, :-1] = np.cos(z) * one
        whole[np.ix_(place, place)] = block
    return whole


def covariance(k, eta, batch, sigma):
    """C ``(n, n)`` of C2 as one linear system in its n² entries, row by row."""
    n = len(k)
    identity, both = np.eye(n), np.kron(k, k)
    left = (eta / n) * (np.kron(k, identity) + np.kron(identity, k)) - eta**2 * (1 - 1 / batch) / n**2 * both
    left -= eta**2 / (batch * n) * both * np.eye(n).ravel()
    return np.linalg.solve(left, eta**2 * sigma**2 / (batch * n) * (k @ k).ravel()).reshape(n, n)


def drift(theta, x, eta, batch, sigma):
    """−(eta/2) P_T (2/n) Σ_i ∇²f_i S ∇f_i ``(p,)``."""
    a = gradients(theta, x)
    k = a @ a.T
    pull = np.linalg.solve(k, a)
    s = pull.T @ covariance(k, eta, batch, sigma) @ pull
    h = (2 / len(x)) * sum(hessian(theta, example) @ s @ g for example, g in zip(x, a, strict=True))
    return -(eta / 2) * (h - pull.T @ (a @ h))


def on_manifold(theta, x, y):
    """Newton's minimum-norm steps to f = y."""
    for _ in range(50):
        q = outputs(theta, x) - y
        if np.abs(q).max() < 1e-12:
            return theta
        a = gradients(theta, x)
        theta = theta - a.T @ np.linalg.solve(a @ a.T, q)
    raise AssertionError("no point of M found")


def path(theta, x, y, eta, batch, sigma, stops, pieces):
    """The law from theta through the step counts ``stops``: ``pieces`` projected Runge–Kutta steps for each."""
    rows, before = [], 0.0
    for stop in stops:
        span = (stop - before) / pieces
        for _ in range(pieces):
            k1 = drift(theta, x, eta, batch, sigma)
            k2 = drift(theta + span / 2 * k1, x, eta, batch, sigma)
            k3 = drift(theta + span / 2 * k2, x, eta, batch, sigma)
            k4 = drift(theta + span * k3, x, eta, batch, sigma)
            theta = on_manifold(theta + span / 6 * (k1 + 2 * k2 + 2 * k3 + k4), x, y)
        rows.append(theta)
        before = stop
    return np.array(rows)


def sgd(theta, x, y, eta, batch, sigma, steps, seed):
    """One run of label-noise SGD from its definition, ``batch`` examples drawn with replacement."""
    source = np.random.default_rng(seed)
    for _ in range(steps):
        rows = source.integers(len(x), size=batch)
        noisy = y[rows] + sigma * source.standard_normal(batch)
        theta = theta - eta / batch * (outputs(theta, x[rows]) - noisy) @ gradients(theta, x[rows])
    return theta
