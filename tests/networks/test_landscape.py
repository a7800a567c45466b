"""Surfaces, grids and openness: closed forms of quadratic losses, loops, and resuming."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks import landscape, planes  # noqa: E402
from numerics.networks.landscape import Field, border_share, grid_losses, openness  # noqa: E402
from numerics.networks.landscapes import gaps  # noqa: E402
from numerics.networks.landscapes import surface as make_surface  # noqa: E402
from tests.networks import small  # noqa: E402


def cloud(count=9, size=14, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).standard_normal((count, size)))


def mlp_field():
    data, model = small.examples(), small.mlp()
    return Field.of(model, data, "squared", torch.float64), small.weights(model)


def linear_field():
    """f = W x + b, one output: the loss is a quadratic form of Hessian (1/n) Σ (x, 1)(x, 1)ᵀ."""
    data, model = small.examples(classes=2, features=2), small.mlp(inputs=2, widths=(), outputs=1)
    augmented = np.column_stack([data.x, np.ones(len(data.x))])
    return Field.of(model, data, "squared", torch.float64), augmented.T @ augmented / len(augmented), augmented, data


@pytest.mark.parametrize("kind", ["pca", "branches", "random", "filter", "curved"])
def test_coordinates_of_surface_points_are_theirs(kind):
    field, theta = mlp_field()
    path = theta + 0.1 * cloud(8, field.model.size)
    on = make_surface(kind, field, path, theta + cloud(3, field.model.size, 1), middle=4, seed=0)
    coordinates = cloud(5, 2, 2)
    np.testing.assert_allclose(on.coordinates(on.points(coordinates)), coordinates, rtol=1e-9, atol=1e-10)
    assert on.distances(on.points(coordinates)).max() < 1e-10


def test_principal_axes_explain_what_numpys_covariance_says():
    points = cloud() * torch.linspace(3, 0.1, 14, dtype=torch.float64)
    plane = planes.principal(points)
    values = np.linalg.eigvalsh(np.cov(points.T.numpy()))[::-1]
    np.testing.assert_allclose(plane.explained, values[:2] / values.sum(), rtol=1e-10)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)


def test_checkpoints_in_a_plane_are_on_it():
    plane = planes.random_plane(cloud(1)[0], seed=0)
    points = plane.points(cloud(6, 2))
    assert planes.principal(points).distances(points).max() < 1e-10
    assert sum(planes.principal(points).explained) == pytest.approx(1)


def test_the_plane_through_three_points_contains_them():
    trunk, first, second = cloud(3)
    assert planes.through(trunk, first, second).distances(torch.stack([trunk, first, second])).max() < 1e-12
    with pytest.raises(InputError, match="lie on one line"):
        planes.through(trunk, first, trunk + 2 * (first - trunk))


def test_bending_brings_curved_checkpoints_onto_the_surface_and_leaves_coordinates():
    plane = planes.random_plane(cloud(1)[0], seed=0)
    coordinates = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None] * torch.tensor(
        [[1.0, 0.3]], dtype=torch.float64
    )
    coordinates[:, 1] += 0.2 * torch.cos(3 * coordinates[:, 0])
    normal = cloud(1, 14, 5)[0]
    normal -= plane.axes.T @ (plane.axes @ normal)
    points = plane.points(coordinates) + coordinates[:, :1] ** 2 * normal
    bent = planes.curved(plane, points)
    assert bent.distances(points).max() < 1e-10 < plane.distances(points).max()
    np.testing.assert_allclose(bent.coordinates(points), plane.coordinates(points), atol=1e-12)


def test_filter_normalised_directions_have_each_filters_norm_and_leave_biases():
    field, theta = mlp_field()
    plane = planes.filter_normalised(field.model, theta, seed=0)
    position = 0
    for shape in field.model.shapes.values():
        part = slice(position, position + shape.numel())
        position += shape.numel()
        if len(shape) == 1:
            assert float(plane.axes[:, part].abs().max()) == 0
            continue
        for axis in plane.axes[:, part]:
            norms = axis.view(shape[0], -1).norm(dim=1)
            np.testing.assert_allclose(norms, theta[part].view(shape[0], -1).norm(dim=1), rtol=1e-12)


def test_random_planes_are_orthonormal_and_their_own():
    origin = cloud(1)[0]
    first, second = (planes.random_plane(origin, seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(first.axes @ first.axes.T, np.eye(2), atol=1e-12)
    assert not torch.equal(first.axes, second.axes)


def test_a_grid_is_one_forward_pass_per_point(tmp_path):
    field, theta = mlp_field()
    plane = planes.random_plane(theta, seed=0)
    a, b = np.linspace(-1, 1, 7), np.linspace(-2, 1, 6)
    found = grid_losses(field, plane, a, b, folder=tmp_path, mark="x", report=lambda _: None)
    for i in range(7):
        for j in range(6):
            at = theta + a[i] * plane.axes[0] + b[j] * plane.axes[1]
            loop = [float(field.at(at, part)) for part in (0, 1)]
            np.testing.assert_allclose(found[i, j], loop, rtol=1e-12)


def test_a_killed_grid_resumes_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(landscape, "CHUNK", 32)
    field, theta = mlp_field()
    plane, axis = planes.random_plane(theta, seed=0), np.linspace(-1, 1, 9)
    whole = grid_losses(field, plane, axis, axis, folder=tmp_path, mark="x", report=lambda _: None)
    other = tmp_path / "killed"
    other.mkdir()

    def kill(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grid_losses(field, plane, axis, axis, folder=other, mark="x", report=kill)
    lines = []
    again = grid_losses(field, plane, axis, axis, folder=other, mark="x", report=lines.append)
    np.testing.assert_array_equal(again, whole)
    assert len(lines) == 2  # 32 of 81 points were there already
    (other / "grid-x.ckpt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"grid-x\.ckpt is not a checkpoint"):
        grid_losses(field, plane, axis, axis, folder=other, mark="x", report=lambda _: None)


def test_openness_of_a_quadratic_is_its_curvature_ratio_and_its_ellipse():
    """On the plane of the two weights L = L_min + ½ Σ λ_i c_i²: ratio λ_min/λ_max; the level ε is an ellipse."""
    field, hessian, augmented, data = linear_field()
    best = np.linalg.lstsq(augmented, data.targets(data.labels), rcond=None)[0][:, 0]
    origin = torch.as_tensor(best)
    values, vectors = np.linalg.eigh(hessian)
    axes = torch.as_tensor(vectors[:, [0, 2]].T.copy())
    plane = planes.Surface(origin, axes, torch.zeros(3, 3, dtype=torch.float64), (0.0, 0.0))
    axis = np.linspace(-1, 1, 41)
    losses = np.array(
        [[float(field.at(plane.points(torch.tensor([[a, b]]).double())[0], 0)) for b in axis] for a in axis]
    )
    above = 0.5 * values[0] * 1.01  # just reaches the border along the flat axis
    found = openness(field, plane, 0, axis, axis, losses, above=above)
    assert found.ratio == pytest.approx(values[0] / values[2], rel=1e-8)
    np.testing.assert_allclose(found.curvatures, values[[0, 2]], rtol=1e-8)
    np.testing.assert_allclose(found.at, 0, atol=1e-4)
    width = np.sqrt((2 * above - values[0]) / values[2])
    assert found.border == pytest.approx(np.mean(np.abs(axis) <= width) / 2)
    assert openness(field, plane, 0, axis, axis, losses, above=0.9 * 0.5 * values[0]).border == 0


def test_the_border_share_counts_each_side_alike():
    losses = np.ones((5, 4))
    assert border_share(losses, 0.5) == 0
    losses[0] = 0
    assert border_share(losses, 0.5) == pytest.approx((1 + 0 + 1 / 5 + 1 / 5) / 4)
    assert border_share(np.zeros((5, 4)), 0.5) == 1


def test_projection_gaps_vanish_on_the_surface_and_not_off_it():
    field, theta = mlp_field()
    plane = planes.random_plane(theta, seed=0)
    on = plane.points(cloud(4, 2))
    assert np.abs(gaps(field, plane, on).test).max() < 1e-10
    off = gaps(field, plane, on + 0.3 * cloud(4, field.model.size, 3))
    assert np.abs(off.train).max() > 1e-3
    assert (off.distance > 0).all()


def test_bad_surfaces_are_refused():
    field, theta = mlp_field()
    with pytest.raises(InputError, match="surface = sphere is not known"):
        make_surface("sphere", field, theta[None], theta[None], middle=0, seed=0)
    with pytest.raises(InputError, match="checkpoints = 2 are too few for a plane"):
        planes.principal(cloud(2))
    with pytest.raises(InputError, match="no plane"):
        planes.principal(cloud(1) * torch.linspace(0, 1, 5, dtype=torch.float64)[:, None])
    with pytest.raises(InputError, match="too few to bend"):
        planes.curved(planes.principal(cloud(5)), cloud(3))


@pytest.mark.parametrize(
    ("kind", "widths", "inputs", "activation"),
    [
        ("mlp", (6, 5), (4,), "tanh"),
        ("mlp", (6, 5), (4,), "relu"),
        ("mlp", (6, 5), (4,), "gelu"),
        ("mlp", (), (4,), "tanh"),
        ("cnn", (3, 4), (1, 8, 8), "tanh"),
        ("cnn", (3,), (1, 10), "relu"),
        ("vgg", (3, 0, 4), (2, 6, 6), "tanh"),
    ],
)
@pytest.mark.parametrize("block", [3, 256])
def test_sharing_the_first_layer_changes_no_loss(kind, widths, inputs, activation, block, monkeypatch):
    """Curved surface, so all six basis vectors count; against one plain forward pass per point; examples in blocks."""
    from numerics.networks import surface_losses
    from numerics.networks.flat import FlatModel
    from numerics.networks.models import Architecture, build

    monkeypatch.setattr(surface_losses, "_EXAMPLES", block)
    model = FlatModel(build(Architecture(kind, widths, activation, 3), inputs))
    source = np.random.default_rng(0)
    x = torch.as_tensor(source.standard_normal((7, *inputs)))
    y = torch.as_tensor(source.standard_normal((7, 3)))
    path = small.weights(model) + 0.3 * cloud(8, model.size)
    surface = planes.curved(planes.principal(path), path)
    coordinates = cloud(5, 2)
    found = surface_losses.SurfaceLosses(model, surface, x, y, "squared")(coordinates)
    plain = [0.5 * float((model(theta, x) - y).square().sum()) / 7 for theta in surface.points(coordinates)]
    np.testing.assert_allclose(found, plain, rtol=1e-11)
