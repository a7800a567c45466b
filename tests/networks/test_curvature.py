"""Jacobian, kernel, tr H and eigenvalues against loops, dense Hessians and closed forms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks import curvature, losses  # noqa: E402
from numerics.networks.manifold import project  # noqa: E402
from tests.networks import naive, small  # noqa: E402


def setting(activation="tanh", widths=(6,)):
    data = small.examples(n=7)
    model = small.mlp(widths=widths, activation=activation)
    return model, small.weights(model), torch.as_tensor(data.x), torch.as_tensor(data.targets(data.labels))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_jacobian_is_one_backward_pass_per_output(activation):
    model, theta, x, _ = setting(activation, (6, 5))
    np.testing.assert_allclose(
        curvature.jacobian(model, theta, x), naive.jacobian(model, theta, x), rtol=1e-12, atol=1e-14
    )


def test_the_jacobian_of_a_convolution_is_one_backward_pass_per_output():
    from numerics.networks.flat import FlatModel
    from numerics.networks.models import Architecture, build

    model = FlatModel(build(Architecture("cnn", (3, 4), "tanh", 2), (1, 8, 8)))
    theta, x = small.weights(model), torch.as_tensor(np.random.default_rng(1).standard_normal((3, 1, 8, 8)))
    np.testing.assert_allclose(
        curvature.jacobian(model, theta, x), naive.jacobian(model, theta, x), rtol=1e-10, atol=1e-13
    )


def test_tr_h_of_a_linear_network_is_its_closed_form():
    """f = W x + b: H = (1/n) Σ (x, 1)(x, 1)ᵀ ⊗ I_C, so tr H = C (1 + mean ‖x‖²)."""
    data = small.examples()
    model, x = small.mlp(widths=()), torch.as_tensor(data.x)
    closed = 3 * (1 + np.square(data.x).sum() / len(data.x))
    assert float(curvature.sharpness(model, small.weights(model), x)) == pytest.approx(closed, rel=1e-12)


@pytest.mark.parametrize("name", ["squared", "mse", "cross-entropy"])
def test_hessian_products_are_the_dense_hessian(name):
    model, theta, x, y = setting()
    loss = losses.LOSSES[name]
    dense = torch.autograd.functional.hessian(lambda w: loss(model(w, x), y), theta)
    product = curvature.hessian_product(model, loss, x, y, theta)
    columns = torch.stack([product(unit) for unit in torch.eye(model.size, dtype=theta.dtype)])
    np.testing.assert_allclose(columns, dense, rtol=1e-9, atol=1e-12)
    assert curvature.trace_exact(product, theta) == pytest.approx(float(dense.trace()), rel=1e-10)


def test_where_the_network_interpolates_hessian_and_gauss_newton_agree_and_elsewhere_they_do_not():
    model, theta, x, y = setting(widths=(12,))
    point = project(model, theta, x, y)
    for where, same in ((point.theta, True), (theta, False)):
        traces = [
            curvature.trace_exact(product(model, losses.squared, x, y, where), where)
            for product in (curvature.hessian_product, curvature.gauss_newton_product)
        ]
        gauss_newton = float(curvature.sharpness(model, where, x))
        assert traces[1] == pytest.approx(gauss_newton, rel=1e-10)
        assert (abs(traces[0] - gauss_newton) < 1e-8 * gauss_newton) == same


def test_hutchinson_lies_within_its_own_standard_error_and_a_wrong_trace_does_not():
    """4.5 standard errors: one false alarm in 10⁵; an operator 30 % larger must be noticed."""
    model, theta, x, y = setting()
    product = curvature.gauss_newton_product(model, losses.squared, x, y, theta)
    exact = curvature.trace_exact(product, theta)
    found = curvature.trace_hutchinson(product, theta, probes=400, seed=0)
    assert 0 < found.sem < 0.05 * exact
    assert abs(found.value - exact) < 4.5 * found.sem
    assert abs(found.value - 1.3 * exact) > 4.5 * found.sem


def test_hutchinsons_standard_error_falls_as_one_over_the_root_of_the_probes():
    model, theta, x, y = setting()
    product = curvature.hessian_product(model, losses.squared, x, y, theta)
    counts = (100, 1600)
    few, many = (curvature.trace_hutchinson(product, theta, probes=m, seed=1).sem for m in counts)
    # a deviation estimated from m normal values is off by 1/√(2m); both errors, at 3.3 deviations (1 in 1000)
    sampling = 3.3 * np.sqrt(sum(1 / (2 * m) for m in counts))
    assert few / many == pytest.approx(4, rel=sampling)


def test_hutchinson_is_exact_for_a_diagonal_matrix():
    diagonal = torch.arange(1.0, 9.0, dtype=torch.float64)
    found = curvature.trace_hutchinson(lambda v: diagonal * v, diagonal, probes=2, seed=3)
    assert (found.value, found.sem) == (36.0, 0.0)


def test_top_eigenvalues_are_those_of_the_dense_hessian():
    model, theta, x, y = setting()
    dense = torch.autograd.functional.hessian(lambda w: losses.squared(model(w, x), y), theta)
    product = curvature.hessian_product(model, losses.squared, x, y, theta)
    found = curvature.top_eigenvalues(product, theta, count=4, iterations=30, seed=0)
    np.testing.assert_allclose(found, torch.linalg.eigvalsh(dense).numpy()[::-1][:4], rtol=1e-9)


def test_top_eigenvalues_of_a_low_rank_map_stop_at_the_invariant_subspace():
    basis, _ = torch.linalg.qr(torch.as_tensor(np.random.default_rng(0).standard_normal((20, 2))))
    matrix = basis @ torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)) @ basis.T
    found = curvature.top_eigenvalues(lambda v: matrix @ v, basis[:, 0], count=2, iterations=20, seed=0)
    np.testing.assert_allclose(found, [3.0, 1.0], rtol=1e-10)


def test_bad_counts_are_refused():
    one = torch.ones(3, dtype=torch.float64)
    with pytest.raises(InputError, match="probes = 1 leaves no standard error"):
        curvature.trace_hutchinson(lambda v: v, one, probes=1, seed=0)
    with pytest.raises(InputError, match="eigenvalue count = 5 must lie in 1 … 3"):
        curvature.top_eigenvalues(lambda v: v, one, count=5, iterations=3, seed=0)


def test_products_traces_and_eigenvalues_agree_with_curvlinops():
    """Double precision on both sides: rounding of sums over 21 outputs and 60 weights."""
    curvlinops = pytest.importorskip("curvlinops")
    model, theta, x, y = setting()
    module = model.module.double()
    torch.nn.utils.vector_to_parameters(theta, module.parameters())
    arguments = (module, torch.nn.MSELoss(reduction="mean"), list(module.parameters()), [(x, y)])
    v = torch.as_tensor(np.random.default_rng(0).standard_normal(model.size))
    unit = torch.eye(model.size, dtype=theta.dtype)
    for operator, ours in (
        (curvlinops.HessianLinearOperator, curvature.hessian_product),
        (curvlinops.GGNLinearOperator, curvature.gauss_newton_product),
    ):
        theirs = operator(*arguments)
        product = ours(model, losses.mean_squared, x, y, theta)
        np.testing.assert_allclose(product(v), (theirs @ v).detach(), rtol=1e-8, atol=1e-12)
        dense = (theirs @ unit).detach()
        assert curvature.trace_exact(product, theta) == pytest.approx(float(dense.trace()), rel=1e-10)
        top = curvature.top_eigenvalues(product, theta, count=3, iterations=model.size, seed=0)
        np.testing.assert_allclose(top, torch.linalg.eigvalsh(dense).numpy()[::-1][:3], rtol=1e-8)
    rows = curvlinops.JacobianLinearOperator(module, list(module.parameters()), [(x, y)])
    np.testing.assert_allclose(curvature.jacobian(model, theta, x), (rows @ unit).detach(), rtol=1e-9, atol=1e-12)
