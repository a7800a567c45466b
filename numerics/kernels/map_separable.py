"""w_j = F(theta_j), theta_j one factor or two, as a kernel of any dynamics sees it: see `map_radial`.

u ``(p,)`` holds factor after factor. Formulas for one factor ignore their second argument.
"""

from numba import njit

# BEGIN FORMULAS: the product a b, replaced by numerics.specialise


@njit(cache=True, error_model="numpy")
def value(a, b):
    """F(a, b)."""
    return a * b


@njit(cache=True, error_model="numpy")
def slope_a(a, b):
    """dF/da."""
    return b


@njit(cache=True, error_model="numpy")
def slope_b(a, b):
    """dF/db."""
    return a


# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def predict(u, limit, w):
    """w ``(d,)`` = F(u). Whether every |w_j| is at most limit."""
    d, within = w.size, 0
    last = u.size - d
    for a in range(d):
        w[a] = value(u[a], u[last + a])
        within += 1 if abs(w[a]) <= limit else 0  # a sum of choices, which vectorises
    return within == d


@njit(cache=True, nogil=True, error_model="numpy")
def pull(u, v, out):
    """out ``(p,)`` = J(u)^T v, the gradient of v . F at u."""
    d = v.size
    last = u.size - d
    for a in range(d):
        out[a] = v[a] * slope_a(u[a], u[last + a])
    if last:
        for a in range(d):
            out[last + a] = v[a] * slope_b(u[a], u[last + a])
