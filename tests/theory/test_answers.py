"""The derived expressions are those of theory.md, typed in here and not in the package; numbers check them again."""

import math
import random

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from numerics.epoch_law import EpochFluctuations, EpochMoments, orders
from theory import lower, momentum_epochs, noise_floor, notation, scalar_law, selection
from theory import scalar_coefficients as coefficients
from theory.identity import vanishes
from theory.parametrization import Radial, named

r, rho, D = notation.r, notation.rho, notation.D
G_D = r ** (D - 1)


def test_kernel_of_depth_d():
    """C4: K = r^(2D-2) X X^T + (D^2-1) r^-2 y y^T."""
    assert vanishes(coefficients.kernel_gram(G_D) - r ** (2 * D - 2))
    assert vanishes(coefficients.kernel_label(G_D) - (D**2 - 1) / r**2)


def test_force_of_depth_d():
    """C4: (dK/dr) = 2 [ (D-1)/r K - D (D^2-1) r^-3 y y^T ], per coefficient."""
    gram, label = coefficients.kernel_gram(G_D), coefficients.kernel_label(G_D)
    assert vanishes(gram.diff(r) - 2 * (D - 1) / r * gram)
    assert vanishes(label.diff(r) - 2 * ((D - 1) / r * label - D * (D**2 - 1) / r**3))


def test_mobility_of_depth_d():
    """C4: rho / (D r [1 - (1 - D^-2) rho^2 / r^(2D)])."""
    stated = rho / (D * r * (1 - (1 - D**-2) * rho**2 / r ** (2 * D)))
    assert vanishes(coefficients.mobility(G_D) - stated)


def test_invariant_of_depth_d():
    """Q on M = ln rho - ((D^2-1)/D) ln r, with slope the bracket of C4."""
    assert vanishes(coefficients.log_invariant(G_D) - (D - 1) / D * sympy.log(r))
    on_manifold = sympy.log(rho) - (D**2 - 1) / D * sympy.log(r)
    derived = sympy.log(rho) - (D - 1) * sympy.log(r) - coefficients.log_invariant(G_D)
    assert vanishes(sympy.expand(derived - on_manifold))


def test_threshold_of_depth_d():
    """C5: ratio(r) |y|^2 <= |X|^2 with ratio = (D+1) / r^(2D)."""
    assert vanishes(selection.threshold(G_D) - (D + 1) / r ** (2 * D))


def test_trace_of_depth_d():
    """psi = (1/n)(r^(2D-2) |X|^2 + (D^2-1) r^-2 |y|^2)."""
    stated = r ** (2 * D - 2) * notation.frobenius**2 + (D**2 - 1) / r**2 * notation.label_norm**2
    assert vanishes(scalar_law.trace_on_manifold(G_D) - stated / notation.n)


def test_c2_as_written():
    """(eta/n)(KC + CK) - eta^2 [(1-1/B) n^-2 K C K + (Bn)^-1 K diag(C) K] = eta^2 sigma^2 (Bn)^-1 K^2, in numbers."""
    draw = np.random.default_rng(7)
    n, batch, eta, sigma = 3, 2, 0.1, 0.3
    A = draw.normal(size=(n, 5))
    K = A @ A.T
    system = np.empty((n * n, n * n))
    for k in range(n * n):
        C = np.zeros(n * n)
        C[k] = 1
        C = C.reshape(n, n)
        left = eta / n * (K @ C + C @ K)
        left -= eta**2 * ((1 - 1 / batch) / n**2 * K @ C @ K + K @ np.diag(np.diag(C)) @ K / (batch * n))
        system[:, k] = left.ravel()
    C = np.linalg.solve(system, (eta**2 * sigma**2 / (batch * n) * K @ K).ravel()).reshape(n, n)
    derived = noise_floor.next_covariance(sympy.Matrix(C), sympy.Matrix(K), eta, batch, sigma)
    assert np.allclose(np.array(derived, dtype=float), C, rtol=1e-10, atol=0)


GAINS = {
    "depth 2": named("radial", 2),
    "depth 2.5": named("radial", 2.5),
    "soft": Radial("soft", sympy.sqrt(1 + r**2)),
    "tanh": Radial("tanh", sympy.tanh(r)),
}


@pytest.mark.parametrize("case", GAINS)
def test_c3_in_full_gives_the_scalar_law(case):
    """C3 with dense numpy matrices at n = 3, d = 7 and any C, against the lowered scalar law; dJ by differences."""
    f = lower.python(lower.functions(GAINS[case]))
    draw = np.random.default_rng(11)
    n, d = 3, 7
    X, u = draw.normal(size=(n, d)), draw.normal(size=d)
    noise = draw.normal(size=(n, n))
    C = noise @ noise.T

    def gain(v):
        return f["gain"](v @ v)

    def jacobian(v):
        return gain(v) * np.eye(d) + f["gain_slope"](v @ v) * np.outer(v, v)

    A = X @ jacobian(u)
    K = A @ A.T
    S = A.T @ np.linalg.solve(K, C) @ np.linalg.solve(K, A)
    step = 1e-5
    h = np.zeros(d)
    for k, direction in enumerate(np.eye(d)):
        moved = X @ (jacobian(u + step * direction) - jacobian(u - step * direction)) / (2 * step)
        h[k] = 2 / n * np.einsum("ia,ab,ib", moved, S, A)
    drift = -0.5 * (h - A.T @ np.linalg.solve(K, A @ h))  # eta = 1
    w = gain(u) * u
    Q, _ = np.linalg.qr(X.T)
    w_null = w - Q @ (Q.T @ w)
    dist, R = np.linalg.norm(w_null), np.linalg.norm(u)
    y = X @ w
    slope = f["kernel_gram_slope"](R) * X @ X.T + f["kernel_label_slope"](R) * np.outer(y, y)
    assert np.allclose(f["kernel_gram"](R) * X @ X.T + f["kernel_label"](R) * np.outer(y, y), K, rtol=1e-12)
    G = np.trace(slope @ np.linalg.solve(K, C)) / n
    predicted = -0.5 * G * f["mobility"](R, dist) * w_null / dist
    observed = jacobian(u) @ drift
    assert np.linalg.norm(observed - predicted) < 1e-7 * np.linalg.norm(observed)


@pytest.mark.parametrize("case", ["depth 2", "depth 2.5", "soft"])
def test_gradient_flow_conserves_the_invariant_and_lands_where_it_says(case):
    """Flow from far off M, solved to 1e-10; rho at its end is the root of Q(rho) = Q(u_0)."""
    f = lower.python(lower.functions(GAINS[case]))
    draw = np.random.default_rng(3)
    n, d = 2, 6
    X, u0 = draw.normal(size=(n, d)) / math.sqrt(d), draw.normal(size=d)
    y = X @ draw.normal(size=d)
    Q, _ = np.linalg.qr(X.T)

    def flow(_, u):
        gain, slope = f["gain"](u @ u), f["gain_slope"](u @ u)
        back = X.T @ (X @ (gain * u) - y)
        return -(gain * back + slope * (u @ back) * u)

    def invariant(u):
        return math.log(np.linalg.norm(u - Q @ (Q.T @ u))) - f["log_invariant"](np.linalg.norm(u))

    end = solve_ivp(flow, (0, 400), u0, rtol=1e-11, atol=1e-12).y[:, -1]
    assert np.linalg.norm(flow(0, end)) < 1e-8
    assert np.linalg.norm(end - u0) > 0.3
    assert invariant(end) == pytest.approx(invariant(u0), abs=1e-8)


def test_second_moment_by_monte_carlo_of_the_definition():
    """One step of the definition, 2e5 draws: 4.5 standard errors, false alarm 4e-5 over 6 entries."""
    draw = np.random.default_rng(5)
    n, batch, eta, sigma, draws = 3, 4, 0.2, 0.7, 200_000
    q, A = draw.normal(size=n), draw.normal(size=(n, n))
    K = A @ A.T
    rows = draw.integers(n, size=(draws, batch))
    values = q[rows] - sigma * draw.normal(size=(draws, batch))
    s = np.zeros((draws, n))
    np.add.at(s, (np.arange(draws)[:, None], rows), values / batch)
    after = q - eta * s @ K
    products = after[:, :, None] * after[:, None, :]
    C = sympy.Matrix(np.outer(q, q))
    derived = np.array(noise_floor.next_covariance(C, sympy.Matrix(K), eta, batch, sigma), dtype=float)
    z = (products.mean(0) - derived) / (products.std(0) / math.sqrt(draws))
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(("n", "batch"), [(2, 1), (2, 2), (3, 1), (4, 2)])
def test_momentum_under_shuffled_epochs_is_what_numerics_evaluates(n, batch):
    """C13: the epoch's equation, and what loss and drift see of its solution, at numbers."""
    A, eta, sigma, beta = np.random.default_rng(n).normal(size=(n, 5)), 0.05, 0.3, 0.6
    K = A @ A.T
    symbolic = sympy.Matrix(K), batch, sympy.Float(eta), sympy.Float(sigma), sympy.Float(beta)

    def evaluated(function, Z):
        return np.array(function(sympy.Matrix(Z), *symbolic).tolist(), dtype=float)

    transfer = EpochFluctuations(K, eta, orders(n, batch)[0], beta).transfer
    source, size = evaluated(momentum_epochs.next_moment, np.zeros((2 * n, 2 * n))), 2 * n
    Z = np.linalg.solve(np.eye(size**2) - transfer, source.ravel()).reshape(size, size)
    np.testing.assert_allclose(evaluated(momentum_epochs.next_moment, Z), Z, rtol=1e-9, atol=1e-9 * np.abs(Z).max())
    found = EpochMoments(batch, sigma, momentum=beta).stationary(K, eta)
    np.testing.assert_allclose(evaluated(momentum_epochs.floor, Z), found.covariance, rtol=1e-9)
    np.testing.assert_allclose(evaluated(momentum_epochs.seen, Z), found.seen, rtol=1e-9)


@pytest.mark.parametrize("beta", [0.3, 0.9])
def test_two_orthogonal_rows_under_momentum_are_stable_as_far_as_derived(beta):
    """Either branch of the minimum is the limit at one of these momenta; k at random."""
    step = momentum_epochs.derive_orthogonal()
    k = random.Random(3).uniform(0.5, 2)
    limit = EpochMoments(1, 0.1, momentum=beta).limit(k * np.eye(2))
    branches = [float(branch.subs(notation.beta, beta)) for branch in step.expression.args]
    assert limit * k == pytest.approx(min(branches), rel=1e-7)
    assert min(branches) < 0.9 * max(branches)


@pytest.mark.parametrize(("n", "depth", "stops"), [(1, 3, True), (3, 2, False)])
def test_selection_of_the_reference_cases(n, depth, stops):
    """Section 4, orthonormal rows (|y| = |w_mn|, |X|^2 = n): one at D = 3 stops short, three at D = 2 just do not."""
    draw = random.Random(n)
    y = [draw.uniform(0.5, 1) for _ in range(n)]
    labels = sum(value**2 for value in y)
    ratio = float(selection.threshold(r ** (depth - 1)).subs(r, labels ** (1 / (2 * depth))))
    assert (ratio * labels > n * (1 + 1e-12)) == stops
