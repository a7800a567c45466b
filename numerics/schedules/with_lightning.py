"""`LateDecay` in Lightning: what ``configure_optimizers`` returns, and a callback that shows it the loss."""

from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from numerics.errors import InputError
from numerics.schedules.late_decay import LateDecay

if TYPE_CHECKING:
    from numerics.schedules.probe import TraceProbe
    from numerics.schedules.rule import Rule


def configured(optimizer: Optimizer, rule: "Rule", *, probe: "TraceProbe | None" = None) -> dict[str, Any]:
    """The return value of ``configure_optimizers``: stepped after every optimizer step, not every epoch."""
    scheduler = LateDecay(optimizer, rule, probe=probe)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1}}


def observer() -> Any:
    """A Lightning callback that shows every loss to the trainer's `LateDecay`. Raises InputError without Lightning."""
    callback = _callback_class()

    class Observer(callback):  # type: ignore[misc, valid-type]
        """Shows the loss before its backward pass."""

        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
            """Lightning's hook."""
            for entry in trainer.lr_scheduler_configs:
                if isinstance(entry.scheduler, LateDecay):
                    entry.scheduler.observe(loss)

    return Observer()


def _callback_class() -> Any:
    """Callback of whichever of Lightning's two packages is installed."""
    try:
        from lightning.pytorch import Callback  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError:
        try:
            from pytorch_lightning import Callback  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ModuleNotFoundError:
            raise InputError("module", "lightning", "is not installed", "pip install 'latedecay[lightning]'") from None
    return Callback
