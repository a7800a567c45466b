"""Loop-by-loop twins of the kernels and laws: slow, obvious, written from the definitions alone."""

import math

import numpy as np

MASK = 0xFFFFFFFF


def philox(counter, key, rounds=10):
    """Philox 4x32-10 of Salmon et al. 2011 on Python integers: four counter words, two key words, four output words."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def sample(seed, purpose, replica, t):
    """Sample t of a stream: (standard normal, 32-bit word)."""
    block = t // 2
    words = philox((block & MASK, block >> 32, replica, purpose), (seed & MASK, seed >> 32))
    radius = math.sqrt(-2 * math.log((words[0] + 0.5) / 2**32))
    angle = 2 * math.pi * (words[1] + 0.5) / 2**32
    return radius * (math.sin(angle) if t % 2 else math.cos(angle)), words[2 + t % 2]


def normal(seed, purpose, replica, t):
    """Normal t of a stream of which only normals are wanted, four to a block."""
    block, i = t // 4, t % 4
    words = philox((block & MASK, block >> 32, replica, purpose), (seed & MASK, seed >> 32))
    radius = math.sqrt(-2 * math.log((words[i & 2] + 0.5) / 2**32))
    angle = 2 * math.pi * (words[(i & 2) + 1] + 0.5) / 2**32
    return radius * (math.sin(angle) if i % 2 else math.cos(angle))


def label_noise_sgd(u, predict, gradient, y, etas, *, batch, sigma, seed, replica, first_step=0):
    """u after the steps: u <- u - (eta/B) sum_b (f_b(u) - y_b - sigma xi_b) grad f_b(u), one sample after the other."""
    n = len(y)
    for k, eta in enumerate(etas):
        step = np.zeros_like(u)
        for b in range(batch):
            normal, word = sample(seed, 0, replica, (first_step + k) * batch + b)
            i = word * n >> 32
            step += (predict(u, i) - y[i] - sigma * normal) * gradient(u, i)
        u = u - eta / batch * step
    return u


def second_moment_step(C, K, eta, batch, sigma):
    """E of the next q q^T given E q q^T = C: the linearised step averaged over every batch of rows, in full.

    q_next = q - (eta/B) sum_b K[:, i_b] (q_{i_b} - sigma xi_b), rows drawn with replacement.
    """
    n = len(K)
    one = [np.outer(K[:, i], np.eye(n)[i]) for i in range(n)]
    mean = sum(one) / n
    square = sum(a @ C @ a.T for a in one) / n
    spread = square / batch + (1 - 1 / batch) * mean @ C @ mean.T
    noise = sigma**2 * sum(np.outer(K[:, i], K[:, i]) for i in range(n)) / n / batch
    return C - eta * (mean @ C + C @ mean.T) + eta**2 * (spread + noise)


def stationary_covariance(K, eta, batch, sigma):
    """The fixed point of `second_moment_step`, as n^2 linear equations; and the spectral radius of its linear part."""
    n = len(K)
    columns = []
    for k in range(n * n):
        unit = np.zeros(n * n)
        unit[k] = 1
        columns.append(second_moment_step(unit.reshape(n, n), K, eta, batch, 0.0).ravel())
    transfer = np.array(columns).T
    source = second_moment_step(np.zeros((n, n)), K, eta, batch, sigma).ravel()
    C = np.linalg.solve(np.eye(n * n) - transfer, source).reshape(n, n)
    return C, float(np.abs(np.linalg.eigvals(transfer)).max())


def slow_drift(u, predictor, X, y, eta, batch, sigma, h=1e-4):
    """du/dk of label-noise SGD with replacement at u, see `drift_of`."""
    return drift_of(u, predictor, X, y, eta, lambda K: stationary_covariance(K, eta, batch, sigma)[0], h)


def drift_of(u, predictor, X, y, eta, seen, h=1e-4):
    """-(eta/n) P_T sum_i grad^2 f_i A^T K^-1 C e_i at u, C = seen(K); derivatives by sixth-order central differences.

    Row i, drawn with residual q_i, pulls along grad^2 f_i (u - its point on the manifold), which is A^T K^-1 q.
    """
    n, p = len(y), len(u)

    def f(v):
        return X @ predictor(v)

    def derivative(function, v):
        columns = []
        for j in range(p):
            e = np.zeros(p)
            e[j] = h
            near = function(v + e) - function(v - e)
            middle = function(v + 2 * e) - function(v - 2 * e)
            far = function(v + 3 * e) - function(v - 3 * e)
            columns.append((45 * near - 9 * middle + far) / (60 * h))
        return np.stack(columns, axis=-1)

    def rows(v):
        return derivative(f, v)

    A = rows(u)
    K = A @ A.T
    inverse = np.linalg.inv(K)
    away = A.T @ inverse @ seen(K)
    hessians = derivative(rows, u)
    drift = sum(hessians[i] @ away[:, i] for i in range(n)) / n
    tangent = np.eye(p) - A.T @ inverse @ A
    return -eta * tangent @ drift
