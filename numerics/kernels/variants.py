"""SGD with any sampling, label noise, momentum, weight decay, isotropic noise, flips or dropout, any parametrization.

Knows no law. One loop, the definition of each written out; what is absent has the value 0. States are (u, p),
``(R, 2 size)``, p the momentum buffer, size the number of parameters.
"""

import numpy as np
from numba import njit

from numerics.kernels.linear import dot
from numerics.kernels.rows import (
    DROPOUT,
    EMPTY,
    EPOCHS,
    ISOTROPIC,
    WITHOUT_REPLACEMENT,
    buffers,
    distinct,
    label_noise,
    locate,
    shuffle,
    uniform,
    word,
)
from numerics.streams import row_index

# isort: split
# BEGIN FORMULAS: radial, replaced by numerics.specialise
from numerics.kernels.map_radial import predict, pull

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
    sampling,
    kind,
    freedom,
    momentum,
    decay,
    isotropic,
    flip,
    classify,
    dropout,
    limit,
    key,
    purpose,
    first_step,
):
    """Advance states ``(R, 2 size)`` in place by len(etas) steps, the first of them number first_step.

    p <- momentum p + gradient; u <- u - eta (p + decay u). The gradient is that of a batch, of the squared loss with
    label noise sigma of a kind or (classify) of the cross-entropy with labels y = +-1 flipped with probability flip,
    each entry of the drawn inputs put to 0 with probability dropout and divided by 1 - dropout otherwise, plus
    isotropic N(0, 1). Diverged replicas become NaN.
    """
    n, d = X.shape
    size = states.shape[1] // 2
    epoch_steps = max(n // batch, 1)
    labels, normal, masks, orders = buffers(), buffers(), buffers(), buffers()
    w, v, x, force = np.empty(d), np.empty(d), np.empty(d), np.empty(size)
    order, drawn = np.empty(n, np.int64), np.empty(batch, np.int64)
    for i in range(states.shape[0]):
        u, p, replica = states[i, :size], states[i, size:], replicas[i]
        for stream in (labels, normal, masks, orders):
            stream[0][0] = EMPTY
        epoch = -1
        for k in range(etas.size):
            if not predict(u, limit, w):
                states[i] = np.nan
                break
            step = first_step + k
            if sampling == EPOCHS and step // epoch_steps != epoch:
                epoch = step // epoch_steps
                shuffle(order, epoch, orders, key, replica)
            v[:] = 0.0
            for b in range(batch):
                j = locate(step * batch + b, labels, key, purpose, replica)
                words, normals = labels[1], labels[2]
                if sampling == EPOCHS:
                    row = order[(step % epoch_steps) * batch + b]
                elif sampling == WITHOUT_REPLACEMENT:
                    row = distinct(drawn, b, words[2, j], n)
                else:
                    row = row_index(words[2, j], n)
                for a in range(d):
                    x[a] = X[row, a]
                if dropout > 0.0:
                    for a in range(d):
                        t = word((step * batch + b) * d + a, masks, key, DROPOUT, replica)
                        x[a] = 0.0 if uniform(t) < dropout else x[a] / (1.0 - dropout)
                output = dot(x, w)
                if classify:
                    label = -y[row] if uniform(words[3, j]) < flip else y[row]
                    error = -label / (1.0 + np.exp(label * output))
                else:
                    error = output - y[row] - sigma * label_noise(kind, freedom, words, normals, j)
                error /= batch
                for a in range(d):
                    v[a] += error * x[a]
            pull(u, v, force)
            for a in range(size):
                if isotropic > 0.0:
                    j = locate((step * size + a) >> 1, normal, key, ISOTROPIC, replica)
                    force[a] += isotropic * normal[2][(step * size + a) & 1, j]
                p[a] = momentum * p[a] + force[a]
            for a in range(size):
                u[a] -= etas[k] * (p[a] + decay * u[a])
