"""Vector arithmetic for kernels. Not BLAS: its threads would change the order of a sum, and with it the bits."""

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(x, y):
    """x . y, summed in an order that depends on the processor only."""
    total = 0.0
    for j in range(x.size):
        total += x[j] * y[j]
    return total
