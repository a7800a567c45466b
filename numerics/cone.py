"""The spectral radius of a linear map of covariances."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

FloatArray = npt.NDArray[np.float64]

_DENSE, _VECTORS, _RESTARTS = 100, 40, 30


def spectral_radius(step: Callable[[FloatArray], FloatArray], m: int) -> float:
    """Largest modulus of the eigenvalues of ``step``, a linear map of m x m matrices that keeps covariances positive:
    that eigenvalue is then real, and the identity has a part along its covariance (Krein and Rutman 1948).
    """
    if m * m <= _DENSE:
        return _dense(step, m)
    size = (m * m, m * m)
    operator = LinearOperator(size, matvec=lambda z: step(z.reshape(m, m)).ravel(), dtype=np.float64)
    try:
        top = eigs(
            operator,
            k=1,
            which="LM",
            v0=np.eye(m).ravel(),
            ncv=_VECTORS,
            maxiter=_RESTARTS,
            tol=1e-11,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence:
        return _dense(step, m)
    return float(np.abs(top).max())


def _dense(step: Callable[[FloatArray], FloatArray], m: int) -> float:
    matrix = np.array([step(unit.reshape(m, m)).ravel() for unit in np.eye(m * m)])
    return float(np.abs(np.linalg.eigvals(matrix)).max())
