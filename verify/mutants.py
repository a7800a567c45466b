"""Faults planted on purpose, as data: which line of which file becomes which, and the claims that should notice.

``old`` occurs exactly once in the file: a test keeps it so. ``claims`` are tried first; a mutant that they let through is run
against all the others before it counts as a survivor. ``survives`` gives the reason where a mutant cannot be caught.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    claims: tuple[str, ...]
    fast: bool = False
    survives: str = ""


_FLOOR = "numerics/noise_floor.py"
_SCALAR = "numerics/scalar_law.py"
_SLOW = "numerics/slow_law.py"
_COEFFICIENTS = "theory/scalar_coefficients.py"
_REDUCED = "numerics/kernels/reduced.py"
_FULL = "numerics/kernels/radial.py"
_SEPARABLE = "numerics/kernels/separable.py"
_VARIANTS = "numerics/kernels/variants.py"
_SDE = "numerics/kernels/sde.py"
_MOMENTUM = "numerics/momentum_law.py"

MUTANTS = (
    # noise floor and stability
    Mutant("floor-factor-2", _FLOOR, "eta * sigma**2 * np.trace(K) / (4 *", "eta * sigma**2 * np.trace(K) / (2 *", ("C2",)),
    Mutant("floor-eta-squared", _FLOOR, "float(eta * sigma**2 * np.trace(K)", "float(eta**2 * sigma**2 * np.trace(K)", ("C2",)),
    Mutant("decay-batch-ignored", _FLOOR, "self.eta * (1 - 1 / self.batch) * np.outer", "self.eta * np.outer", ("C2",), True),
    Mutant("decay-sign", _FLOOR, "values, values) - self.eta * (1 -", "values, values) + self.eta * (1 -", ("C2",)),
    Mutant("response-batch-ignored", _FLOOR, "self.eta**2 / (self.batch * self.n) *", "self.eta**2 / self.n *", ("C2",)),
    Mutant("noise-deviation-for-variance", _FLOOR, "np.full(self.n, sigma**2)", "np.full(self.n, sigma)", ("C2",)),
    Mutant("no-multiplicative-noise", _FLOOR, "self._diagonal(self._diagonal_response(noise)) + noise", "noise", ("C2",)),
    Mutant("limit-of-gradient-descent", _FLOOR, "return 1 / unit", "return 2 * n / top", ("C9", "C2")),
    # scalar law
    Mutant("drift-factor-2", _SCALAR, "return -(eta / 2) * G *", "return -eta * G *", ("C4",), True),
    Mutant("drift-sign", _SCALAR, "return -(eta / 2) * G *", "return (eta / 2) * G *", ("C4",)),
    Mutant("drift-eta-squared", _SCALAR, "return -(eta / 2) * G *", "return -(eta**2 / 2) * G *", ("C4",)),
    Mutant("K-for-its-inverse", _SCALAR, "np.sum(np.linalg.solve(K, manifold.kernel_slope(rho)) * C)", "np.sum((K @ manifold.kernel_slope(rho)) * C)", ("C4",)),
    Mutant("small-eta-law-at-any-eta", _SCALAR, "C = Fluctuations(K, eta, self.batch).covariance(self.sigma)\n        G", "C = eta * self.sigma**2 / (2 * self.batch) * K\n        G", ("C4",), True),
    Mutant("small-rate-batch-ignored", _SCALAR, "-(eta**2 * self.sigma**2 / (4 * self.batch)) * slope", "-(eta**2 * self.sigma**2 / 4) * slope", ("C4",)),
    Mutant("radius-from-rho-alone", _SCALAR, "float(np.hypot(self.norm_w_mn, rho))", "float(abs(rho))", ("C4", "C5")),
    Mutant("selection-reversed", _SCALAR, "return self.trace_hessian_slope(0.0) >= 0", "return self.trace_hessian_slope(0.0) <= 0", ("C5",)),
    Mutant("label-kernel-dropped", _SCALAR, "gram * self.gram + label * np.outer(self.y, self.y)", "gram * self.gram", ("C4", "C2")),
    Mutant("relaxation-skipped", _SCALAR, "target = np.log(size) - self._log_invariants(radius)", "target = np.log(size)", ("C4", "C7")),
    Mutant("timescale-half", _SCALAR, "quad(lambda x: -1 / self.log_rate", "quad(lambda x: -0.5 / self.log_rate", ("C6",)),
    # symbolic coefficients
    Mutant("depth-squared-minus-1-dropped", _COEFFICIENTS, "tidy((log_slope(g) ** 2 - 1) / r**2)", "tidy(log_slope(g) ** 2 / r**2)", ("C4", "C2"), True),
    Mutant("kernel-g-not-squared", _COEFFICIENTS, "return tidy(g**2)", "return tidy(g)", ("C4", "C2")),
    Mutant("mobility-curvature-dropped", _COEFFICIENTS, "tidy(s**2 * (N**2 - rho**2) + rho**2)", "tidy(s**2 * N**2)", ("C4",)),
    Mutant("invariant-sign", _COEFFICIENTS, "    return tidy(antiderivative)", "    return tidy(-antiderivative)", ("C4", "C7")),
    Mutant("symbolic-map-sign", "theory/noise_floor.py", "return C - eta / C.rows * (K * C + C * K) + eta**2", "return C - eta / C.rows * (K * C + C * K) - eta**2", ("C2",)),
    Mutant("symbolic-batch", "theory/noise_floor.py", "return (1 - 1 / sympy.sympify(B)) * C / n**2 +", "return C / n**2 +", ("C2",)),
    Mutant("symbolic-kernel", "theory/landscape.py", "return g**2 * X * X.T + ((g + r * slope) ** 2 - g**2)", "return g**2 * X * X.T + ((g + r * slope) ** 2)", ("C1",)),
    Mutant("symbolic-momentum", "theory/momentum.py", "identity - eta * K / n, -eta * beta * identity", "identity - eta * K / n, -eta * identity", ("C13",)),
    Mutant("symbolic-threshold", "theory/selection.py", "coefficients.tidy(-label / gram)", "coefficients.tidy(-label / gram / 2)", ("C5", "C4")),
    # general slow law
    Mutant("projection-missing", _SLOW, "return np.asarray(v - tangent.A.T @ np.linalg.solve(tangent.K, tangent.A @ v))", "return np.asarray(v)", ("C3",)),
    Mutant("pull-mixed-derivative", _SLOW, "Fab * Fa + Fbb * Fb", "Fbb * Fb", ("C3",)),
    Mutant("pull-half", _SLOW, "(2 / n) * t * part", "(1 / n) * t * part", ("C3",)),
    # kernels
    Mutant("reduced-shrink-sign", _REDUCED, "keep = 1.0 - shrink", "keep = 1.0 + shrink", ("C12", "C4"), True),
    Mutant("reduced-noise-dropped", _REDUCED, "- y[row] - sigma * normals[g, t & 1, j])", "- y[row])", ("C12",)),
    Mutant("reduced-reused-noise", _REDUCED, "t = (first_step + k) * batch + b", "t = (first_step + k) * batch", ("C12", "C2")),
    Mutant("reduced-off-by-one", _REDUCED, "rate = etas[k] / batch", "rate = etas[max(k - 1, 0)] / batch", ("C12",)),
    Mutant("schedule-off-by-one", "numerics/schedule.py", 'np.asarray(steps), side="right")', 'np.asarray(steps), side="left")', ("C12",)),
    Mutant("reduced-batch-sum", _REDUCED, "rate = etas[k] / batch", "rate = etas[k]", ("C12",)),
    Mutant("full-slope-dropped", _FULL, "shrink += error * score * slope", "shrink += 0.0 * slope", ("C12", "C4")),
    Mutant("full-noise-halved", _FULL, "- sigma * normals[0, t & 1, j])", "- 0.5 * sigma * normals[0, t & 1, j])", ("C12",)),
    Mutant("separable-second-factor", _SEPARABLE, "last[a] -= step * slope_b(first[a], last[a])", "last[a] += step * slope_b(first[a], last[a])", ("C16", "C3")),
    Mutant("separable-noise-scale", _SEPARABLE, "- y[row] - sigma * normals[0, t & 1, j]", "- y[row] - sigma**2 * normals[0, t & 1, j]", ("C16", "C3")),
    Mutant("normals-shifted", "numerics/streams.py", "normals[0, j] = (1.0 -", "normals[0, j] = 0.05 + (1.0 -", ("C2", "C4")),
    Mutant("normals-one-sine", "numerics/streams.py", "radius * (s + odd * (c - s))", "radius * (c + odd * (s - c))", ("C2", "C16", "C14")),
    Mutant("rows-never-last", "numerics/streams.py", "word * np.uint64(n)) >> _SHIFT", "word * np.uint64(max(n - 1, 1))) >> _SHIFT", ("C2", "C9")),
    Mutant("decay-factor-squared", "numerics/schedule.py", "self.eta / float(self.factor) ** decays", "self.eta / float(self.factor) ** (2 * decays)", ("C12",)),
    Mutant("floor-of-the-wrong-sum", "numerics/sgd.py", '"loss": 0.5 * np.mean(residual**2, axis=1)', '"loss": np.mean(residual**2, axis=1)', ("C2", "C12")),
    Mutant("teacher-row-part-lost", "numerics/problem.py", "outside = problem.null_part(problem.w_star) - target[-1] * direction", "outside = problem.null_part(problem.w_star)", ("C7", "C8")),
    # other dynamics
    Mutant("momentum-drift-1-beta", _MOMENTUM, "return -eta / (2 * (1 - self.momentum)) * G", "return -eta / 2 * G", ("C13",), True),
    Mutant("momentum-map", _MOMENTUM, "-self.eta * self.momentum * eye", "-self.eta * eye", ("C13",)),
    Mutant("momentum-kernel", _VARIANTS, "p[a] = momentum * p[a] + force", "p[a] = momentum * p[a] + (1.0 - momentum) * force", ("C13",)),
    Mutant("flips-variance", "numerics/classification_law.py", "np.sqrt(1 / variance)", "np.sqrt(variance)", ("C11",)),
    Mutant("flips-eta-unscaled", "numerics/classification_law.py", "self.law.log_rate(rho, self.variance * eta)", "self.law.log_rate(rho, eta)", ("C11",)),
    Mutant("flips-never", _VARIANTS, "-label if uniform < flip else label", "label if uniform < flip else label", ("C11",)),
    Mutant("isotropic-drift", "numerics/noise_laws.py", "(null - 1) / nu * R_n", "null / nu * R_n", ("C10",)),
    Mutant("isotropic-variance", "numerics/noise_laws.py", "float((eta * tau) ** 2 * gradient)", "float((eta * tau) ** 2 / 2 * gradient)", ("C10",)),
    Mutant("sde-noise-eta", _SDE, "size = np.sqrt(times[k] * eta / batch)", "size = np.sqrt(times[k] / batch)", ("C14",)),
    Mutant("sde-correction-sign", _SDE, "force[m] += 0.5 * eta", "force[m] -= 0.5 * eta", ("C14",)),
    Mutant("sde-mean-not-removed", _SDE, "keep = (1.0 - np.sqrt(max(0.0, 1.0 - share))) / share if share > 0.0 else 0.0", "keep = 0.0 * share", ("C14",)),
    Mutant("sde-law-correction", "numerics/sde_law.py", "H + eta / 2 * H @ H if corrected", "H + eta * H @ H if corrected", ("C14",)),
)
