"""Batched training against one network at a time, at equal draws; noise kinds; resuming; divergence."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks.losses import LOSSES  # noqa: E402
from numerics.networks.measured import measure  # noqa: E402
from numerics.networks.train import DivergedError, Program, Recipe, Replicas, State  # noqa: E402
from tests.networks import naive, small  # noqa: E402

PLAIN = Recipe("squared", 3, False, 0.0, 0.0)


def program(
    recipe=PLAIN, *, seeds=(0, 1), noise=("fresh", "none"), size=0.3, flip=False, eta=0.05, classes=3, model=None
):
    data = small.examples(classes=classes)
    model = model or small.mlp(outputs=1 if classes == 2 else classes)
    replicas = Replicas(seeds, (eta,) * len(seeds), noise, size, flip)
    return Program(model, data, recipe, replicas, dtype=torch.float64, stream=0)


@pytest.mark.parametrize(
    ("recipe", "flip"),
    [
        (PLAIN, False),
        (Recipe("squared", 3, True, 0.0, 0.0), False),
        (Recipe("squared", None, False, 0.0, 0.0), False),
        (Recipe("mse", 3, False, 0.9, 1e-2), False),
        (Recipe("cross-entropy", 4, False, 0.5, 0.0), True),
        (Recipe("squared", 12, True, 0.9, 0.0), True),
    ],
)
def test_a_stack_trains_as_one_network_after_another_at_equal_draws(recipe, flip):
    running = program(recipe, flip=flip)
    start = running.start(gain=1.0)
    end, _ = running.advance(start, 150)
    for row, (seed, kind) in enumerate(((0, "fresh"), (1, "none"))):
        alone = naive.sgd(
            running.model,
            running.examples,
            recipe,
            loss=LOSSES[recipe.loss],
            seed=seed,
            eta=0.05,
            sigma=0.3 if kind == "fresh" else 0.0,
            flip=flip,
            theta=start.theta[row],
            steps=150,
            stream=0,
        )
        np.testing.assert_allclose(end.theta[row], alone, rtol=1e-10, atol=1e-12)


def test_a_run_resumed_at_any_step_has_the_same_bits():
    running = program(Recipe("squared", 3, False, 0.9, 1e-3))
    whole, losses = running.advance(running.start(gain=1.0), 200)
    for cut in (1, 64, 77):
        first, before = running.advance(running.start(gain=1.0), cut)
        second, after = running.advance(first, 200 - cut)
        assert torch.equal(second.theta, whole.theta)
        assert torch.equal(second.velocity, whole.velocity)
        np.testing.assert_array_equal(np.concatenate([before, after]), losses)


def test_a_seed_trains_alike_whatever_stands_beside_it():
    together, _ = program(seeds=(0, 1, 2), noise=("fresh",) * 3).advance(
        program(seeds=(0, 1, 2), noise=("fresh",) * 3).start(gain=1.0), 100
    )
    alone = program(seeds=(2,), noise=("fresh",))
    np.testing.assert_allclose(alone.advance(alone.start(gain=1.0), 100)[0].theta[0], together.theta[2], rtol=1e-10)


def test_replicas_of_one_seed_are_paired_and_of_two_seeds_are_not():
    paired = program(seeds=(4, 4, 5), noise=("fresh", "fresh", "fresh"))
    end, _ = paired.advance(paired.start(gain=1.0), 50)
    assert torch.equal(end.theta[0], end.theta[1])
    assert not torch.equal(end.theta[0], end.theta[2])


def test_clean_and_static_targets_are_interpolated_and_fresh_noise_is_not():
    """Momentum .9, so 2500 steps are many; all against what the noise itself puts on a target."""
    model, recipe = small.mlp(widths=(80,)), Recipe("squared", 3, False, 0.9, 0.0)
    kinds = ("none", "fresh", "static", "static")
    running = program(recipe, noise=kinds, seeds=(0, 0, 0, 1), model=model, eta=0.02)
    end, losses = running.advance(running.start(gain=1.5), 2500)
    noise = 0.5 * 3 * 0.3**2
    y = running.examples.targets(running.examples.labels)
    clean = measure(model, end.theta, running.examples.x, y, loss="squared").loss
    assert clean[0] < 1e-3 * noise
    assert clean[1] > 1e-2 * noise
    assert (losses[-200:, 2:].mean(axis=0) < 1e-3 * noise).all()
    assert (clean[2:] > 0.3 * noise).all()  # they fit their noise
    outputs = [model(theta, torch.as_tensor(running.examples.x)) for theta in end.theta[2:]]
    assert float((outputs[0] - outputs[1]).abs().mean()) > 0.1


def test_flips_happen_at_their_rate_and_never_keep_the_class():
    """Of 64·12·50 draws at p = .3, a share within 4 standard errors; each flipped row is another unit vector."""
    running = program(Recipe("squared", None, False, 0.0, 0.0), flip=True, seeds=(0,), noise=("fresh",))
    clean, changed, total = torch.as_tensor(running.examples.targets(running.examples.labels)), 0, 0
    for block in range(50):
        indices, noise, shifts = running._draws(block)
        for k in range(64):
            _, y = running._batch(k, indices, noise, shifts)
            assert ((y == 0) | (y == 1)).all()
            assert (y.sum(-1) == 1).all()
            changed += int((y[0] != clean).any(-1).sum())
            total += len(clean)
    assert abs(changed / total - 0.3) < 4 * np.sqrt(0.3 * 0.7 / total)


def test_a_flip_of_two_classes_changes_the_sign():
    running = program(
        Recipe("squared", None, False, 0.0, 0.0), flip=True, seeds=(0,), noise=("fresh",), size=1.0, classes=2
    )
    indices, noise, shifts = running._draws(0)
    _, y = running._batch(0, indices, noise, shifts)
    np.testing.assert_array_equal(y[0], -running.examples.targets(running.examples.labels))


def test_a_schedule_multiplies_the_learning_rate():
    running, slow = program(eta=0.06), program(eta=0.02)
    start = running.start(gain=1.0)
    scaled, _ = running.advance(start, 70, lambda steps: np.full(len(steps), 1 / 3))
    np.testing.assert_allclose(scaled.theta, slow.advance(start, 70)[0].theta, rtol=1e-12)


def test_divergence_says_at_which_step_and_rate_and_keeps_the_state():
    running = program(eta=80.0, noise=("none", "none"))
    start = running.start(gain=1.0)
    kept = start.theta.clone()
    with pytest.raises(
        DivergedError, match=r"loss is not finite at step \d+ with learning rate 80 \(seed [01]\); lower eta"
    ):
        running.advance(start, 500)
    assert torch.equal(start.theta, kept)


def test_losses_on_known_values():
    outputs, targets = torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert float(LOSSES["squared"](outputs, targets)) == pytest.approx(0.5)
    assert float(LOSSES["mse"](outputs, targets)) == pytest.approx(0.5)
    softplus = np.log1p(np.exp(-2.0))
    assert float(LOSSES["cross-entropy"](outputs, targets)) == pytest.approx((softplus + np.log(2)) / 2, rel=1e-6)
    single = LOSSES["cross-entropy"](torch.tensor([[3.0]]), torch.tensor([[-1.0]]))
    assert float(single) == pytest.approx(np.log1p(np.exp(3.0)), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "loss = hinge is not known"),
        ({"batch": 0}, "batch = 0 is below 1"),
        ({"batch": 13}, "batch = 13 exceeds the 12 training examples"),
        ({"momentum": 1.0}, r"momentum = 1 must lie in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight decay = -1 is negative"),
    ],
)
def test_a_bad_recipe_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        program(replace(PLAIN, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": ("fresh", "loud")}, "noise = loud is not known"),
        ({"noise": ("fresh",)}, "differ in number"),
        ({"eta": 0.0}, "eta = 0 is not positive"),
        ({"size": -0.1}, "noise size = -0.1"),
        ({"size": 1.5, "flip": True}, "noise size = 1.5"),
    ],
)
def test_bad_replicas_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        program(**change)


def test_state_is_all_there_is():
    """Weights, momentum and step number alone continue a run: nothing hides in the program."""
    recipe = Recipe("squared", 3, False, 0.9, 0.0)
    middle, _ = program(recipe).advance(program(recipe).start(gain=1.0), 90)
    copied = State(middle.theta.clone(), middle.velocity.clone(), middle.step)
    assert torch.equal(program(recipe).advance(copied, 40)[0].theta, program(recipe).advance(middle, 40)[0].theta)
