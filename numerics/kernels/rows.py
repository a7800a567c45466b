"""What a step draws: rows under three samplings, label noise of three kinds, masks. Built on `numerics.streams`.

One block of four words (w0, w1, w2, w3) belongs to drawn row b of a step: block number step * batch + b. w0 and w1 make
its label noise, w2 its row, w3 a uniform for flips. Orders of an epoch, isotropic noise and masks have streams of
their own, so that switching one on leaves the other draws as they are.
"""

import numpy as np
from numba import njit

from numerics.streams import fill, philox, row_index

#: streams beside those of `numerics.streams.PURPOSES`
SHUFFLE, ISOTROPIC, DROPOUT = 64, 65, 66

#: samplings and kinds of label noise, as kernels take them
WITH_REPLACEMENT, WITHOUT_REPLACEMENT, EPOCHS = 0, 1, 2
GAUSSIAN, RADEMACHER, STUDENT = 0, 1, 2

#: blocks drawn at once
CHUNK = 64

#: the window of a buffer that holds no block
EMPTY = -(2**62)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(cache=True, nogil=True, error_model="numpy")
def buffers():
    """window ``(1,)``, words ``(4, CHUNK)`` and normals ``(2, CHUNK)`` of one stream, holding nothing yet."""
    return np.full(1, EMPTY), np.empty((4, CHUNK), np.uint64), np.empty((2, CHUNK))


@njit(cache=True, nogil=True, error_model="numpy")
def locate(block, stream, key, purpose, replica):
    """The column of a block in the buffers of a stream with normals, drawn if it is not there."""
    window, words, normals = stream
    j = block - window[0]
    if j < 0 or j >= CHUNK:
        window[0] = block
        fill(key[0], key[1], purpose, replica, block, words, normals)
        j = 0
    return j


@njit(cache=True, nogil=True, error_model="numpy")
def word(number, stream, key, purpose, replica):
    """32-bit word of this number in a stream of bare words, four to a block."""
    window, words, _ = stream
    j = (number >> 2) - window[0]
    if j < 0 or j >= CHUNK:
        window[0] = number >> 2
        block = np.uint64(window[0])
        philox(block & _LOW, block >> _SHIFT, np.uint64(replica), np.uint64(purpose), key[0], key[1], words)
        j = 0
    return words[number & 3, j]


@njit(cache=True, nogil=True, error_model="numpy")
def uniform(w):
    """(w + 1/2) / 2^32, inside (0, 1)."""
    return (np.float64(w) + 0.5) / 4294967296.0


@njit(cache=True, nogil=True, error_model="numpy")
def label_noise(kind, freedom, words, normals, j):
    """Noise of mean 0 and variance 1 from column j: normal; +-1; or Student's t by Bailey's (1994) polar form, scaled.

    t = sqrt(nu (U^(-2/nu) - 1)) cos(2 pi V) has nu degrees of freedom, variance nu/(nu - 2).
    """
    if kind == GAUSSIAN:
        return normals[0, j]
    if kind == RADEMACHER:
        return 1.0 if words[0, j] < np.uint64(2147483648) else -1.0
    radius = np.sqrt((freedom - 2.0) * (uniform(words[0, j]) ** (-2.0 / freedom) - 1.0))
    return radius * np.cos(2.0 * np.pi * uniform(words[1, j]))


@njit(cache=True, nogil=True, error_model="numpy")
def distinct(drawn, b, w, n):
    """Put into drawn[b] a row unlike drawn[:b], each as likely, which are kept in increasing order."""
    row = row_index(w, n - b)
    c = 0
    while c < b and drawn[c] <= row + c:
        c += 1
    row += c
    for a in range(b, c, -1):
        drawn[a] = drawn[a - 1]
    drawn[c] = row
    return row


@njit(cache=True, nogil=True, error_model="numpy")
def shuffle(order, epoch, stream, key, replica):
    """Fisher and Yates: the order ``(n,)`` of the rows in an epoch, from its own address alone."""
    n = order.size
    for a in range(n):
        order[a] = a
    for a in range(n - 1, 0, -1):
        other = row_index(word(epoch * n + a, stream, key, SHUFFLE, replica), a + 1)
        order[a], order[other] = order[other], order[a]
