"""Trunk and branches: resuming gives the same bits; settings, damage and divergence are told."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks import checkpoint  # noqa: E402
from numerics.networks.branches import Run, clean_measures  # noqa: E402
from numerics.networks.plan import Plan  # noqa: E402
from numerics.networks.train import Program, Recipe, State  # noqa: E402
from tests.networks import small  # noqa: E402

PLAN = Plan(
    recipe=Recipe("squared", 3, False, 0.9, 0.0),
    seeds=(0, 1),
    kinds=("fresh", "none"),
    eta=0.02,
    noise=0.3,
    flip=False,
    gain=1.0,
    decay_steps=(0, 50, 200),
    path_steps=(30, 130),
    factor=10.0,
    branch_steps=90,
    keep_momentum=True,
    precision="float32",
    save_every=40,
)


class Killed(Exception):
    """Stands for a kill at the moment of a report, after a checkpoint was written."""


def run(folder, plan=PLAN, kill_after=None):
    reports = []

    def report(line):
        reports.append(line)
        if kill_after is not None and len(reports) == kill_after:
            raise Killed

    return Run(plan, small.mlp(), small.examples(), folder, report)


def both(whole):
    whole.trunk()
    whole.branches()
    return whole


def ends(whole):
    """Weights ``(decay steps, kinds, seeds, p)`` of all branches."""
    return torch.stack([whole.branch_weights(k) for k in range(len(whole.plan.decay_steps))])


def finished(folder, plan=PLAN):
    return both(run(folder, plan))


@pytest.mark.parametrize("kill_after", [1, 2, 4, 7, 9, 11])
def test_a_killed_run_resumes_and_ends_with_the_same_bits(tmp_path, kill_after):
    whole = finished(tmp_path)
    other = tmp_path / "killed"
    other.mkdir()
    killed = run(other, kill_after=kill_after)
    with pytest.raises(Killed):
        both(killed)
    resumed = finished(other)
    assert torch.equal(ends(resumed), ends(whole))
    for step in PLAN.saved_steps:
        assert (other / f"trunk-000-{step:09d}.ckpt").read_bytes() == (
            tmp_path / f"trunk-000-{step:09d}.ckpt"
        ).read_bytes()


def test_only_the_saved_steps_remain(tmp_path):
    finished(tmp_path)
    assert checkpoint.steps_saved(tmp_path, "trunk-000") == [0, 30, 50, 130, 200]
    assert checkpoint.steps_saved(tmp_path, "branch-000") == [90]


def test_a_branch_is_its_trunk_state_trained_at_the_small_rate(tmp_path):
    whole = finished(tmp_path)
    state = whole.trunk_state(50)
    small_rate = replace(PLAN.replicas, eta=(PLAN.eta / PLAN.factor,) * 4)
    program = Program(whole.model, whole.examples, PLAN.recipe, small_rate, dtype=torch.float32, stream=1)
    alone, _ = program.advance(State(state.theta, state.velocity, 0), PLAN.branch_steps)
    np.testing.assert_allclose(ends(whole)[1].reshape(4, -1), alone.theta, rtol=2e-4, atol=2e-6)


def test_resetting_momentum_changes_the_branches_and_not_the_trunk(tmp_path):
    (tmp_path / "reset").mkdir()
    kept, reset = finished(tmp_path), finished(tmp_path / "reset", replace(PLAN, keep_momentum=False))
    assert torch.equal(kept.trunk_weights(200), reset.trunk_weights(200))
    assert not torch.equal(ends(kept)[2], ends(reset)[2])
    assert torch.equal(ends(kept)[0], ends(reset)[0])  # at step 0 there is no momentum yet


def test_seeds_are_paired_across_kinds(tmp_path):
    weights = finished(tmp_path).trunk_weights(0)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0, 0], weights[0, 1])


def test_measures_have_the_shape_of_the_weights(tmp_path):
    whole = finished(tmp_path)
    loss, share = clean_measures(whole, ends(whole), held_out=True)
    assert loss.shape == share.shape == (3, 2, 2)
    steps, observed = whole.observed_losses()
    assert list(steps) == [30, 50, 130, 200]
    assert observed.shape == (4, 4)


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    finished(tmp_path)
    with pytest.raises(InputError, match="belongs to other settings"):
        run(tmp_path, replace(PLAN, noise=0.2)).trunk()


def test_a_damaged_checkpoint_is_named_and_after_its_removal_the_run_goes_on(tmp_path):
    whole = finished(tmp_path)
    weights = ends(whole)
    last = tmp_path / "trunk-000-000000200.ckpt"
    last.write_bytes(last.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"trunk-000-000000200\.ckpt is damaged"):
        run(tmp_path).trunk()
    last.unlink()
    (tmp_path / "branch-000-000000090.ckpt").unlink()
    assert torch.equal(ends(finished(tmp_path)), weights)


def test_divergence_names_step_rate_and_the_last_good_checkpoint(tmp_path):
    with pytest.raises(
        InputError, match=r"eta = 60 makes the loss of the trunk .* at step \d+ .*last good checkpoint"
    ) as caught:
        finished(tmp_path, replace(PLAN, eta=60.0))
    kept = str(caught.value).rsplit(": ", 1)[1]
    arrays, settings = checkpoint.load(tmp_path / kept)
    assert np.isfinite(arrays["theta"]).all()
    assert settings["step"] in (0, 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay_steps": (5, 5)}, "are not increasing"),
        ({"decay_steps": ()}, "are not increasing"),
        ({"factor": 1.0}, "does not lower the learning rate"),
        ({"branch_steps": 0}, "branch steps = 0 is below 1"),
        ({"precision": "float16"}, "precision = float16 is not known"),
    ],
)
def test_bad_plans_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(PLAN, **change)
