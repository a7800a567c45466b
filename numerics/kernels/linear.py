"""Vector arithmetic for kernels. Not BLAS: its threads would change the order of a sum, and with it the bits."""

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(x, y):
    """x . y, summed in an order that depends on the processor only."""
    total = 0.0
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def add(x, weight, y):
    """x += weight y."""
    for j in range(x.size):
        x[j] += weight * y[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def scale_and_add(x, keep, weight, y):
    """x = keep x - weight y, and |x|^2 of the result."""
    total = 0.0
    for j in range(x.size):
        x[j] = keep * x[j] - weight * y[j]
        total += x[j] * x[j]
    return total
