"""Our schedules in optax: traceable functions of the step count, and late decay decided outside the compiled step."""

from collections.abc import Callable
from typing import Any

from numerics.errors import InputError
from numerics.schedule import Constant, Cosine, Linear, Schedule, StepDecay, WarmupStableDecay
from numerics.schedules.controller import Controller, mark_of, refuse_other
from numerics.schedules.rule import Rule


def to_optax(schedule: Schedule) -> Callable[[Any], Any]:
    """The schedule as an optax schedule: count -> learning rate, in jax operations. Precision is jax's (float32 unless
    x64).

    Raises InputError where jax is missing, or for a schedule that is not one of this package.
    """
    jnp = _jax_numpy()
    if isinstance(schedule, Constant):
        return lambda count: jnp.asarray(schedule.eta) + 0.0 * jnp.asarray(count)
    if isinstance(schedule, StepDecay):
        edges = jnp.asarray(schedule.decay_steps)
        return lambda count: schedule.eta / schedule.factor ** jnp.searchsorted(edges, jnp.asarray(count), side="right")
    if isinstance(schedule, Cosine | Linear):
        whole = schedule.total
        return to_optax(WarmupStableDecay(schedule.eta, whole, 0, whole, schedule.final, schedule.shape))
    if isinstance(schedule, WarmupStableDecay):
        return lambda count: _warmup_stable_decay(jnp, schedule, jnp.asarray(count))
    raise InputError("schedule", type(schedule).__name__, "is not one of numerics.schedule", "use one of its classes")


def _warmup_stable_decay(jnp: Any, schedule: WarmupStableDecay, k: Any) -> Any:
    """`WarmupStableDecay.__call__` in jax operations."""
    start = schedule.total - schedule.decay
    s = jnp.clip((k - start) / schedule.decay, 0.0, 1.0) if schedule.decay else jnp.where(k >= schedule.total, 1.0, 0.0)
    left = {"linear": 1 - s, "cosine": (1 + jnp.cos(jnp.pi * s)) / 2, "1-sqrt": 1 - jnp.sqrt(s)}[schedule.shape]
    offset = 0 if schedule.warmup_from_zero else 1
    warm = jnp.minimum(1.0, (k + offset) / schedule.warmup) if schedule.warmup else 1.0
    return warm * (schedule.final + (schedule.eta - schedule.final) * left)


def _jax_numpy() -> Any:
    try:
        import jax.numpy  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise InputError("module", error.name, "is not installed", "pip install 'latedecay[optax]'") from None
    return jax.numpy


class OptaxLateDecay:
    """Late decay around ``optax.inject_hyperparams(optax.sgd)(learning_rate=eta, ...)``: the decision stays on the
    host.

    After every update: ``opt_state = decay.update(opt_state, loss)``. Where ``probe_due``, pass ``trace``, one value
    per probe.
    """

    def __init__(
        self, rule: Rule, *, eta: float, momentum: float = 0.0, residuals: int | None = None, probes: int = 0
    ) -> None:
        self.eta = eta
        self.controller = Controller(rule, eta=eta / (1 - momentum), residuals=residuals, probes=probes)

    @property
    def probe_due(self) -> bool:
        """Whether tr H is wanted with the next update."""
        return self.controller.probe_due

    @property
    def rate(self) -> float:
        """The next step's learning rate."""
        return self.eta * self.controller.factor

    def look(self, held_out_loss: float) -> None:
        """Show a held-out loss at the mean of the recent weights (``optax.incremental_update`` keeps one)."""
        self.controller.looked(float(held_out_loss))

    @property
    def mark(self) -> str:
        """SHA-256 of the rule, the learning rate and the probe's size."""
        own = self.controller
        return mark_of(own.rule.mark, self.eta, own.eta, own.probes, own.residuals)

    def state(self) -> dict[str, Any]:
        """Plain numbers, texts and lists, to be kept beside the optimizer's state."""
        return {"mark": self.mark, "controller": self.controller.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where the state was taken. Raises InputError for the state of another schedule."""
        refuse_other(str(state.get("mark", "none")), self.mark)
        self.controller.restore(state["controller"])

    def update(self, opt_state: Any, loss: float, trace: list[float] | None = None) -> Any:
        """The optimizer state with the next step's learning rate. Raises InputError for a state without that entry."""
        hyperparams = getattr(opt_state, "hyperparams", None)
        if hyperparams is None or "learning_rate" not in hyperparams:
            remedy = "build the optimizer with optax.inject_hyperparams(optax.sgd)(learning_rate=eta)"
            raise InputError("opt_state", type(opt_state).__name__, "has no learning rate to set", remedy)
        if trace is not None:
            self.controller.measured(trace)
        self.controller.advance(float(loss))
        kind = hyperparams["learning_rate"].dtype
        rate = _jax_numpy().asarray(self.rate, dtype=kind)
        return opt_state._replace(hyperparams={**hyperparams, "learning_rate": rate})
