"""Late decay inside optax, Lightning and the Hugging Face Trainer: the rates that were really used, and resume."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.schedule import WarmupStableDecay  # noqa: E402
from numerics.schedules.late_decay import LateDecay  # noqa: E402
from numerics.schedules.rule import Rule  # noqa: E402

torch.set_num_threads(1)
RULE = Rule(total=40, warmup=4, shape="linear", longest=0.25)
TOLD = 0.1 * WarmupStableDecay(1.0, 40, 4, 10, 0.0, "linear")(np.arange(40))


def test_no_adapter_is_imported_before_it_is_used():
    code = (
        "import numerics.schedules.late_decay, numerics.schedules.with_optax, numerics.schedules.with_lightning, sys;"
        "import numerics.schedules.with_transformers;"
        "print([m for m in ('jax', 'optax', 'pytorch_lightning', 'lightning', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def jax64():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", False)


def test_optax_updates_at_the_rates_of_the_rule(jax64):
    optax = pytest.importorskip("optax")
    from numerics.schedules.with_optax import OptaxLateDecay

    decay = OptaxLateDecay(RULE, eta=0.1)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=decay.rate)
    weight = jax64.numpy.zeros(())
    state, found = optimizer.init(weight), []
    for _ in range(40):
        update, state = optimizer.update(jax64.numpy.ones(()), state, weight)
        found.append(-float(update))
        state = decay.update(state, loss=1.0)
    np.testing.assert_allclose(found, TOLD, atol=1e-12)


def optax_run(jax, optax, steps, saved=None):
    """Noisy quadratic under OptaxLateDecay: rates, weight and what a checkpoint needs after ``steps``."""
    from numerics.schedules.with_optax import OptaxLateDecay

    decay = OptaxLateDecay(RULE, eta=0.1, residuals=10, probes=1)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=decay.rate, momentum=0.5)
    weight = jax.numpy.ones(())
    state, start, found = optimizer.init(weight), 0, []
    if saved is not None:
        start, weight, state, own = saved
        decay.restore(own)
    for k in range(start, steps):
        found.append(float(state.hyperparams["learning_rate"]))
        gradient = weight + 0.3 * np.random.default_rng(k).standard_normal()
        update, state = optimizer.update(gradient, state, weight)
        weight = optax.apply_updates(weight, update)
        trace = [2.0 + 0.01 * k] if decay.probe_due else None
        state = decay.update(state, loss=0.5 * float(gradient) ** 2, trace=trace)
    return found, (steps, weight, state, decay.state())


@pytest.mark.parametrize("stop", [2, 15, 34])
def test_an_optax_run_resumes_with_the_same_bits(jax64, stop):
    optax = pytest.importorskip("optax")
    import json

    whole, end = optax_run(jax64, optax, 40)
    first, (step, weight, state, own) = optax_run(jax64, optax, stop)
    second, again = optax_run(jax64, optax, 40, (step, weight, state, json.loads(json.dumps(own))))
    assert first + second == whole
    assert float(again[1]) == float(end[1])
    assert again[3] == end[3]


def test_an_optax_state_of_another_rule_is_refused():
    from numerics.schedules.with_optax import OptaxLateDecay

    state = OptaxLateDecay(RULE, eta=0.1).state()
    with pytest.raises(InputError, match=r"scheduler state = \w+ is that of another schedule"):
        OptaxLateDecay(RULE, eta=0.2).restore(state)


def test_an_optax_state_without_a_rate_is_refused():
    optax = pytest.importorskip("optax")
    from numerics.schedules.with_optax import OptaxLateDecay

    with pytest.raises(InputError, match=r"has no learning rate to set; build the optimizer with optax\.inject_hyper"):
        OptaxLateDecay(RULE, eta=0.1).update(optax.sgd(0.1).init(np.zeros(1)), loss=1.0)


def lightning_model(pl, rates, losses):
    from numerics.schedules.with_lightning import configured

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch, index):
            rates.append(self.optimizers().param_groups[0]["lr"])
            loss = (self.layer(batch[0]) - 1).square().mean()
            losses.append(float(loss))
            return loss

        def configure_optimizers(self):
            return configured(torch.optim.SGD(self.parameters(), lr=0.1), RULE)

    return Model()


@pytest.mark.filterwarnings("ignore")
def test_lightning_steps_it_every_optimizer_step_shows_it_the_loss_and_resumes(tmp_path):
    pl = pytest.importorskip("pytorch_lightning")
    from numerics.schedules.with_lightning import observer

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(40, 3)), batch_size=4)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
        "accelerator": "cpu",
    }
    rates, losses = [], []
    torch.manual_seed(0)
    trainer = pl.Trainer(max_epochs=4, callbacks=[observer()], enable_checkpointing=False, **quiet)
    trainer.fit(lightning_model(pl, rates, losses), data)
    np.testing.assert_allclose(rates, TOLD, atol=1e-12)
    (entry,) = trainer.lr_scheduler_configs
    assert isinstance(entry.scheduler, LateDecay)
    record = entry.scheduler.controller.losses
    np.testing.assert_allclose(record.means, losses, rtol=1e-6)

    first, second = [], []
    torch.manual_seed(0)
    half = pl.Trainer(max_epochs=2, callbacks=[observer()], enable_checkpointing=False, **quiet)
    half.fit(lightning_model(pl, first, []), data)
    half.save_checkpoint(tmp_path / "half.ckpt")
    rest = pl.Trainer(max_epochs=4, callbacks=[observer()], enable_checkpointing=False, **quiet)
    rest.fit(lightning_model(pl, second, []), data, ckpt_path=tmp_path / "half.ckpt")
    assert first + second == rates
    for ours, told in zip(rest.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(ours, told)
    assert rest.lr_scheduler_configs[0].scheduler.controller.state() == entry.scheduler.controller.state()


@pytest.mark.filterwarnings("ignore")
def test_the_hugging_face_trainer_uses_the_rates_of_the_rule(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    trainer = hugging_face_trainer(transformers, RULE, tmp_path)
    trainer.train()
    np.testing.assert_allclose(trainer.used, TOLD, atol=1e-12)
    scheduler = trainer._late_decay()
    assert scheduler.phase == "done"
    assert len(scheduler.controller.losses.means) == 40


@pytest.mark.filterwarnings("ignore")
def test_a_budget_that_is_not_the_trainers_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    with pytest.raises(
        InputError, match="total = 4 is not the 40 optimizer steps of this run; give optimizer steps, not"
    ):
        hugging_face_trainer(transformers, Rule(total=4), tmp_path).train()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop", [15, 35], ids=["stable phase", "cooldown"])
def test_the_hugging_face_trainer_resumes_from_its_own_checkpoint(tmp_path, stop):
    """A tiny random language model: rates, losses and weights after a resume are those of the run that went through."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    whole = language_model_trainer(transformers, tmp_path / "whole", stop)
    whole.train()
    np.testing.assert_allclose(whole.used, TOLD, atol=1e-12)
    rest = language_model_trainer(
        transformers, tmp_path / "rest", stop, seed=1
    )  # other weights: the checkpoint's count
    rest.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    assert rest.used == whole.used[stop:]
    for ours, told in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, told)
    record, told = (trainer._late_decay().controller for trainer in (rest, whole))
    assert record.state() == told.state()


@pytest.mark.filterwarnings("ignore")
def test_a_hugging_face_checkpoint_of_another_rule_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    language_model_trainer(transformers, tmp_path, 15).train()
    other = language_model_trainer(transformers, tmp_path, 15, rule=Rule(total=40, warmup=4))
    with pytest.raises(InputError, match=r"scheduler state = \w+ is that of another schedule"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))


def noting(rule):
    """A Trainer class that notes the rate of every step."""
    from numerics.schedules.with_transformers import late_decay_trainer

    class Noting(late_decay_trainer(rule)):
        used = ()

        def training_step(self, *args, **kwargs):
            self.used = (*self.used, self.optimizer.param_groups[0]["lr"])
            return super().training_step(*args, **kwargs)

    return Noting


def language_model_trainer(transformers, folder, save_every, rule=RULE, seed=0):
    """One layer of GPT-2 with random weights on made-up tokens, 40 optimizer steps, nothing downloaded."""
    transformers.set_seed(seed)
    config = transformers.GPT2Config(vocab_size=17, n_positions=6, n_embd=8, n_layer=1, n_head=2)
    draw = torch.Generator().manual_seed(0)
    rows = [{"input_ids": row, "labels": row} for row in torch.randint(17, (40, 6), generator=draw)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=4,
        report_to=[],
        save_steps=save_every,
        disable_tqdm=True,
        use_cpu=True,
        max_grad_norm=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return noting(rule)(model=model, args=arguments, train_dataset=rows, optimizers=(optimizer, None))


def hugging_face_trainer(transformers, rule, folder):
    """A Trainer for a linear model, 40 optimizer steps."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x, labels):
            return {"loss": (self.layer(x)[:, 0] - labels).square().mean()}

    model = Model()
    rows = [{"x": torch.ones(3), "labels": torch.tensor(1.0)} for _ in range(40)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=4,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        max_grad_norm=0,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return noting(rule)(model=model, args=arguments, train_dataset=rows, optimizers=(optimizer, None))
