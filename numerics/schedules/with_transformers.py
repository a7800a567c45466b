"""`LateDecay` in the Hugging Face Trainer: a Trainer class that builds it for its optimizer and shows it the loss."""

from typing import TYPE_CHECKING, Any

from numerics.errors import InputError
from numerics.schedules.late_decay import LateDecay

if TYPE_CHECKING:
    from numerics.schedules.probe import TraceProbe
    from numerics.schedules.rule import Rule


def late_decay_trainer(rule: "Rule", *, probe: "TraceProbe | None" = None, base: Any = None) -> Any:
    """A subclass of ``base`` (default: transformers.Trainer) whose scheduler is `LateDecay` under this rule.

    Raises InputError without transformers, and where the rule's budget is not the Trainer's number of optimizer steps.
    """
    parent = base or _trainer_class()

    class LateDecayTrainer(parent):  # type: ignore[misc, valid-type]
        """Trainer with late decay."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LateDecay:
            """Trainer's hook: called once, with the number of optimizer steps of the whole run."""
            if rule.total is not None and rule.total != num_training_steps:
                was = f"is not the {num_training_steps} optimizer steps of this run"
                raise InputError(
                    "total", rule.total, was, "give optimizer steps, not epochs: epochs times steps per epoch"
                )
            wrapped = self.optimizer if optimizer is None else optimizer
            own: Any = getattr(wrapped, "optimizer", wrapped)  # out of accelerate's wrapper
            self.lr_scheduler = LateDecay(own, rule, probe=probe)
            return self.lr_scheduler

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            """Trainer's hook: one forward and backward pass."""
            loss = super().training_step(*args, **kwargs)
            self._late_decay().observe(loss)
            return loss

        def _late_decay(self) -> LateDecay:
            """The scheduler, out of the wrapper that accelerate puts around it."""
            scheduler = self.lr_scheduler
            return getattr(scheduler, "scheduler", scheduler)

    return LateDecayTrainer


def _trainer_class() -> Any:
    try:
        from transformers import Trainer  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise InputError("module", error.name, "is not installed", "pip install 'latedecay[transformers]'") from None
    return Trainer
