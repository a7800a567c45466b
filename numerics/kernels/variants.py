"""SGD with momentum, weight decay, isotropic gradient noise or flipped labels, for F(u) = g(|u|) u. Knows no law.

One loop, the definition of each written out; what is absent has the value 0. States are (u, p), ``(R, 2 d)``, p the
momentum buffer.
"""

import numpy as np
from numba import njit

from numerics.kernels.linear import dot
from numerics.streams import BLOCKS, NOTHING, refill, row_index, workspace

# BEGIN FORMULAS: depth 3, replaced by numerics.specialise


@njit(cache=True, error_model="numpy")
def gain(q):
    """g(sqrt q)."""
    return q


@njit(cache=True, error_model="numpy")
def gain_slope(q):
    """g'(r) / r at r = sqrt q."""
    return 2.0


# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def advance(
    states,
    replicas,
    X,
    y,
    etas,
    batch,
    sigma,
    momentum,
    decay,
    isotropic,
    flip,
    classify,
    limit,
    key,
    purpose,
    first_step,
):
    """Advance states ``(R, 2 d)`` in place by len(etas) steps, the first of them number first_step.

    p <- momentum p + gradient; u <- u - eta (p + decay u). The gradient is that of a batch drawn with replacement,
    of the squared loss with label noise sigma or (classify) of the cross-entropy with labels y = +-1 flipped with
    probability flip, plus isotropic N(0, 1). A step takes 2 batch + d samples of its stream. Diverged replicas
    become NaN.
    """
    n, d = X.shape
    per_step = 2 * batch + d
    window, words, scratch, normals = workspace(1)
    v = np.empty(d)
    for i in range(states.shape[0]):
        u, p = states[i, :d], states[i, d:]
        window[0] = NOTHING
        for k in range(etas.size):
            q = dot(u, u)
            if not 0.0 <= q <= limit:
                states[i] = np.nan
                break
            level, slope = gain(q), gain_slope(q)
            v[:] = 0.0
            pull = 0.0
            for b in range(batch):
                t = (first_step + k) * per_step + 2 * b
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, scratch, normals)
                    j = (t >> 1) - window[0]
                row = row_index(words[0, 2 + (t & 1), j], n)
                label, noise = y[row], normals[0, t & 1, j]
                t += 1
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, scratch, normals)
                    j = (t >> 1) - window[0]
                score = dot(X[row], u)
                if classify:
                    uniform = np.float64(words[0, 2 + (t & 1), j]) / 4294967296.0
                    drawn = -label if uniform < flip else label
                    error = -drawn / (1.0 + np.exp(drawn * level * score))
                else:
                    error = level * score - label - sigma * noise
                for a in range(d):
                    v[a] += error * level * X[row, a]
                pull += error * score * slope
            for a in range(d):
                force = (v[a] + pull * u[a]) / batch
                if isotropic > 0.0:
                    t = (first_step + k) * per_step + 2 * batch + a
                    j = (t >> 1) - window[0]
                    if j < 0 or j >= BLOCKS:
                        refill(t, 0, key, purpose, replicas[i], window, words, scratch, normals)
                        j = (t >> 1) - window[0]
                    force += isotropic * normals[0, t & 1, j]
                p[a] = momentum * p[a] + force
            for a in range(d):
                u[a] -= etas[k] * (p[a] + decay * u[a])
