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


def hugging_face_trainer(transformers, rule, folder):
    """A Trainer for a linear model, 40 optimizer steps, that notes the rate of every step."""
    from numerics.schedules.with_transformers import late_decay_trainer

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x, labels):
            return {"loss": (self.layer(x)[:, 0] - labels).square().mean()}

    class Noting(late_decay_trainer(rule)):
        used = ()

        def training_step(self, *args, **kwargs):
            self.used = (*self.used, self.optimizer.param_groups[0]["lr"])
            return super().training_step(*args, **kwargs)

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
    return Noting(model=model, args=arguments, train_dataset=rows, optimizers=(optimizer, None))
