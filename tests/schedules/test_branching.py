"""branch_decay: each branch is the run it says it is, resumable at every save, and refuses what is not its own."""

import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.schedule import WarmupStableDecay  # noqa: E402
from numerics.schedules.branching import branch_decay, load_run, read_header, save_run  # noqa: E402

torch.set_num_threads(1)
FRACTIONS = (0.1, 0.25, 0.5)


def make():
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Dropout(0.2), torch.nn.Linear(5, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def take_step(model, optimizer, step):
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(8, 4, generator=draw)
    loss = (model(x) - x[:, :1] - torch.randn(8, 1, generator=draw)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def weights(path):
    model, optimizer = make()
    load_run(path, model, optimizer)
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.fixture
def trunk(tmp_path):
    model, optimizer = make()
    for step in range(40):
        take_step(model, optimizer, step)
    return save_run(tmp_path / "trunk.ckpt", model, optimizer, 40)


def branches(trunk, out, **options):
    settings = {"make": make, "take_step": take_step, "out": out} | options
    return branch_decay(trunk, settings.pop("fractions", FRACTIONS), **settings)


def test_a_branch_is_the_stable_run_continued_at_the_closed_forms_rates(trunk, tmp_path):
    found = branches(trunk, tmp_path / "b", shape="linear")
    assert [branch.steps for branch in found] == [4, 10, 20]
    for branch in found:
        model, optimizer = make()
        load_run(trunk, model, optimizer)
        schedule = WarmupStableDecay(0.05, 40 + branch.steps, 0, branch.steps, 0.0, "linear")
        for step in range(40, 40 + branch.steps):
            optimizer.param_groups[0]["lr"] = float(schedule(step))
            take_step(model, optimizer, step)
        told = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        assert torch.equal(weights(branch.path), told)


@pytest.mark.parametrize("killed_at", [45, 47, 58])
def test_a_killed_call_goes_on_and_ends_with_the_same_bits(trunk, tmp_path, killed_at):
    class Killed(Exception):
        pass

    def dying(model, optimizer, step):
        if step == killed_at:
            raise Killed
        return take_step(model, optimizer, step)

    whole = branches(trunk, tmp_path / "whole")
    with pytest.raises(Killed):
        branches(trunk, tmp_path / "b", take_step=dying, save_every=3)
    done = []
    again = branches(
        trunk,
        tmp_path / "b",
        take_step=lambda m, o, k: (done.append(k), take_step(m, o, k)),
        save_every=3,
    )
    for one, other in zip(whole, again, strict=True):
        assert torch.equal(weights(one.path), weights(other.path))
    assert len(done) < 34  # the whole of it is 4 + 10 + 20 steps


def test_a_finished_call_trains_nothing(trunk, tmp_path):
    branches(trunk, tmp_path / "b")
    branches(trunk, tmp_path / "b", take_step=lambda *_: pytest.fail("trained again"))


def test_a_branch_of_another_trunk_is_refused_by_hash(trunk, tmp_path):
    branches(trunk, tmp_path / "b")
    model, optimizer = make()
    take_step(model, optimizer, 99)
    save_run(trunk, model, optimizer, 40)
    with pytest.raises(InputError, match="belongs to another schedule \\(its trunk is"):
        branches(trunk, tmp_path / "b")


def test_a_branch_of_another_shape_is_refused(trunk, tmp_path):
    branches(trunk, tmp_path / "b")
    with pytest.raises(InputError, match="belongs to another schedule \\(its shape is 1-sqrt, not linear\\)"):
        branches(trunk, tmp_path / "b", shape="linear")


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, 300])
def test_a_fraction_that_is_none_is_refused(trunk, tmp_path, fraction):
    with pytest.raises(InputError, match=r"is not a fraction of the steps so far; .*\(not steps, not epochs\)"):
        branches(trunk, tmp_path / "b", fractions=(fraction,))


def test_a_checkpoint_inside_a_cooldown_is_refused(trunk, tmp_path):
    model, optimizer = make()
    optimizer.param_groups[0]["initial_lr"] = 0.5
    save_run(trunk, model, optimizer, 40)
    with pytest.raises(InputError, match=r"was saved at learning rate 0\.05, not at the stable phase's 0\.5"):
        branches(trunk, tmp_path / "b")


def test_what_is_no_checkpoint_is_refused(trunk, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        branches(tmp_path / "nothing", tmp_path / "b")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="is not a run saved by save_run"):
        branches(tmp_path / "text", tmp_path / "b")
    blob = bytearray(trunk.read_bytes())
    blob[-200] ^= 1
    trunk.write_bytes(bytes(blob))
    with pytest.raises(InputError, match="is damaged"):
        branches(trunk, tmp_path / "b")


def test_another_model_is_refused(trunk, tmp_path):
    def other():
        model = torch.nn.Linear(2, 1)
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    with pytest.raises(InputError, match="does not fit this model"):
        branches(trunk, tmp_path / "b", make=other)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"fractions": ()}, "names no branch"), ({"save_every": 0}, "save_every = 0 is below 1")],
)
def test_senseless_requests_are_refused(trunk, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        branches(trunk, tmp_path / "b", **options)


def test_a_run_at_step_zero_has_no_branches(tmp_path):
    path = save_run(tmp_path / "zero.ckpt", *make(), 0)
    assert read_header(path)["step"] == 0
    with pytest.raises(InputError, match="checkpoint step = 0 leaves nothing to take a fraction of"):
        branches(path, tmp_path / "b")
