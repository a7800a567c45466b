"""F(u) = g(|u|) u as a kernel of any dynamics sees it: the predictor, and what pulls on the parameters.

`numerics.specialise` puts these lines, or those of `map_separable`, into the templates that import them.
"""

from numba import njit

from numerics.kernels.linear import dot

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
def predict(u, limit, w):
    """w ``(d,)`` = F(u). Whether |u| is at most limit."""
    q = dot(u, u)
    level = gain(q)
    for a in range(w.size):
        w[a] = level * u[a]
    return 0.0 <= q <= limit * limit


@njit(cache=True, nogil=True, error_model="numpy")
def pull(u, v, out):
    """out ``(d,)`` = J(u)^T v, the gradient of v . F at u."""
    q = dot(u, u)
    level, inward = gain(q), gain_slope(q) * dot(v, u)
    for a in range(v.size):
        out[a] = level * v[a] + inward * u[a]
