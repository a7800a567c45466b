"""Work in pieces: they fit their bound, cover everything once, and change results by rounding alone."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.networks import pieces, planes  # noqa: E402
from numerics.networks.branches import Run  # noqa: E402
from numerics.networks.flat import FlatModel  # noqa: E402
from numerics.networks.landscape import openness  # noqa: E402
from numerics.networks.landscapes import gaps  # noqa: E402
from numerics.networks.landscapes import surface as make_surface  # noqa: E402
from numerics.networks.losses import LOSSES, accuracy  # noqa: E402
from numerics.networks.measured import measure  # noqa: E402
from numerics.networks.models import VGG11, Architecture, build  # noqa: E402
from numerics.networks.pace import Pace  # noqa: E402
from numerics.networks.pieces import footprint, for_looking, for_training, spans, within  # noqa: E402
from numerics.networks.train import Program, Recipe, Replicas  # noqa: E402
from tests.networks import small  # noqa: E402
from tests.networks.test_branches import PLAN, Killed, both, ends  # noqa: E402
from tests.networks.test_landscape import cloud, mlp_field  # noqa: E402


def test_a_footprint_counts_what_the_layers_put_out():
    found = footprint(FlatModel(build(Architecture("cnn", (3, 4), "relu", 5), (1, 8, 8))), (1, 8, 8))
    layers = [3 * 64, 3 * 64, 3 * 16, 4 * 16, 4 * 16, 4 * 4, 4 * 4, 5]
    assert (found.units, found.widest, found.inputs, found.outputs) == (sum(layers), 2 * 3 * 64, 64, 5)
    assert found.parameters == (9 + 1) * 3 + (27 + 1) * 4 + (16 + 1) * 5


VGG = footprint(FlatModel(build(Architecture("vgg", VGG11, "relu", 10), (3, 32, 32))), (3, 32, 32))
MLP = footprint(small.mlp(), (4,))


@pytest.mark.parametrize("networks", [1, 7, 54])
@pytest.mark.parametrize("examples", [1, 125, 50_000])
@pytest.mark.parametrize("found", [VGG, MLP])
def test_pieces_fit_their_bound_and_no_larger_ones_would(found, networks, examples):
    for chosen, needs, bound in (
        (for_training(found, networks, examples, 4), found.training, pieces.TRAINING),
        (for_looking(found, networks, examples, 4), found.looking, pieces.LOOKING),
    ):
        weights = needs(1, 0, 4)  # of one network: they are there, whatever is cut
        assert needs(chosen.networks, chosen.examples, 4) <= bound + (chosen.networks == 1) * weights
        assert chosen.networks == networks or needs(chosen.networks + 1, chosen.examples, 4) > bound
        assert chosen.examples == examples or needs(1, chosen.examples + 1, 4) - weights > bound


def test_what_fits_nowhere_is_one_network_and_one_example():
    huge = replace(VGG, parameters=10**12, units=10**12, widest=10**12)
    assert for_training(huge, 3, 5, 4) == for_looking(huge, 3, 5, 4) == pieces.Pieces(1, 1)


def test_spans_cover_everything_once():
    assert list(spans(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    held = [within(slice(2, 7), span) for span in spans(9, 3)]
    assert [list(range(9))[span][own] for span, own in zip(spans(9, 3), held, strict=True)] == [[2], [3, 4, 5], [6]]
    assert within(slice(0, 2), slice(5, 6)).stop <= 0


def test_looking_in_pieces_changes_nothing(monkeypatch):
    model, data = small.mlp(), small.examples()
    theta = torch.stack([small.weights(model, seed) for seed in range(5)])
    y = data.targets(data.labels)
    whole = measure(model, theta, data.x, y, loss="mse")
    for bytes_ in (1, 2500, 5000):  # one example; blocks of one network; whole networks
        monkeypatch.setattr(pieces, "LOOKING", bytes_)
        parts = measure(model, theta, data.x, y, loss="mse")
        np.testing.assert_allclose(whole.loss, parts.loss, rtol=1e-13)
        np.testing.assert_allclose(whole.accuracy, parts.accuracy, rtol=1e-13)
    outputs = model(theta[3], torch.as_tensor(data.x))
    assert whole.loss[3] == pytest.approx(float(LOSSES["mse"](outputs, torch.as_tensor(y))), rel=1e-12)
    assert whole.accuracy[3] == pytest.approx(float(accuracy(outputs, torch.as_tensor(y))))


@pytest.mark.parametrize(("batch", "flip"), [(5, False), (None, False), (5, True), (None, True)])
def test_a_batch_in_blocks_is_the_same_step(monkeypatch, batch, flip):
    """In double precision, 30 steps with momentum: rounding, amplified by the steps between."""
    data, replicas = small.examples(), Replicas((0, 1), (0.02,) * 2, ("fresh", "none"), 0.3, flip)

    def trained():
        recipe = Recipe("cross-entropy" if flip else "squared", batch, False, 0.9, 1e-3)
        program = Program(small.mlp(), data, recipe, replicas, dtype=torch.float64, stream=0)
        return program._block, *program.advance(program.start(gain=1.0), 30)

    block, whole, losses = trained()
    assert block == (batch or len(data.x))
    monkeypatch.setattr(pieces, "TRAINING", 1)
    block, parts, again = trained()
    assert block == 1
    np.testing.assert_allclose(parts.theta, whole.theta, rtol=1e-10)
    np.testing.assert_allclose(again, losses, rtol=1e-10)


def test_a_landscape_in_pieces_is_the_same(monkeypatch):
    """Losses on a bent surface, its minimum and Hessian, gaps: in double precision, but for sums in another order."""
    field, theta = mlp_field()
    path = theta + 0.3 * cloud(8, field.model.size)
    axis = np.linspace(-1, 1, 5)

    def all_of_it():
        surface = make_surface("curved", field, path, path[:2], middle=0, seed=0)
        coordinates = torch.as_tensor(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2))
        losses = field.over(surface, 1)(coordinates).numpy()
        valley = openness(field, surface, 1, axis, axis, losses.reshape(5, 5), above=0.1)
        off = gaps(field, surface, path)
        return np.concatenate([losses, valley.at, valley.curvatures, off.distance, off.train, off.test])

    whole = all_of_it()
    for module, name in ((pieces, "LOOKING"), (pieces, "TRAINING"), (planes, "LOOKING")):
        monkeypatch.setattr(module, name, 1)
    np.testing.assert_allclose(all_of_it(), whole, rtol=1e-6, atol=1e-8)  # the minimiser stops where it may


@pytest.mark.parametrize(
    ("left", "words"),
    [(30, ""), (100, "; 0.75 s a step of one network, 75 s of training left"), (10**6, "8.7 days of training left")],
)
def test_the_pace_tells_how_long_the_rest_takes(left, words):
    pace = Pace(left + 14)
    assert str(pace) == ""
    pace.skip(10)
    pace.add(4, 3.0)
    assert str(pace).endswith(words)
    assert bool(str(pace)) == bool(words)


SHORT = replace(PLAN, precision="float64", decay_steps=(0, 8, 30), path_steps=(5, 20), branch_steps=12, save_every=7)


def in_groups(folder, size, monkeypatch, report=lambda _: None):
    """A run whose networks train ``size`` at a time."""
    run = Run(SHORT, small.mlp(), small.examples(), folder, report)
    monkeypatch.setattr(pieces, "TRAINING", run.shape.training(size, 3, 8))
    return run


@pytest.mark.parametrize("size", [1, 3])
def test_groups_train_as_all_at_once_do(tmp_path, monkeypatch, size):
    """4 networks in the trunk and 12 branches; groups of 3 cut across seeds, kinds and decay steps."""
    (tmp_path / "parts").mkdir()
    whole = both(in_groups(tmp_path, 12, monkeypatch))
    weights, trunk = ends(whole), [whole.trunk_weights(step) for step in SHORT.saved_steps]
    observed = whole.observed_losses()[1]
    assert len(list(tmp_path.glob("branch-*"))) == 1
    parts = both(in_groups(tmp_path / "parts", size, monkeypatch))
    assert len(list((tmp_path / "parts").glob("branch-*"))) == 12 // size
    np.testing.assert_allclose(ends(parts), weights, rtol=1e-9)
    for step, there in zip(SHORT.saved_steps, trunk, strict=True):
        np.testing.assert_allclose(parts.trunk_weights(step), there, rtol=1e-9)
    np.testing.assert_allclose(parts.observed_losses()[1], observed, rtol=1e-9)


def test_a_run_in_groups_resumes_with_the_same_bits(tmp_path, monkeypatch):
    (tmp_path / "killed").mkdir()
    whole = both(in_groups(tmp_path, 3, monkeypatch))
    for moments in (3, 5, 6):
        left = iter(range(moments))

        def report(_, left=left):
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            both(in_groups(tmp_path / "killed", 3, monkeypatch, report))
    again = both(in_groups(tmp_path / "killed", 3, monkeypatch))
    assert torch.equal(ends(again), ends(whole))
    names = sorted(path.name for path in tmp_path.glob("*.ckpt"))
    assert names == sorted(path.name for path in (tmp_path / "killed").glob("*.ckpt"))
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
