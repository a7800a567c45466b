"""How a late-decay schedule is asked for: budget or tolerance, warm-up, cooldown. One frozen record, hashed into every
state.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from numerics.errors import InputError
from numerics.schedule import SHAPES, Shape, WarmupStableDecay, check_count

#: integral over the cooldown of the learning rate's fraction, for a decay to zero
_AREA = {"linear": 1 / 2, "cosine": 1 / 2, "1-sqrt": 1 / 3}


@dataclass(frozen=True)
class Rule:
    """A plateau, then one cooldown. With ``total`` the cooldown ends with the budget; without, the monitor starts it.

    total: budget in optimizer steps, or None. warmup: steps. shape, final: of the cooldown, ``final`` as a fraction of
    the learning rate. tolerance: with no budget, decay once going on for as long again would lower tr H by less than
    this fraction. foldings: relaxation times (C7) that the cooldown lasts, at its own falling learning rate, kept
    between ``shortest`` and ``longest`` as fractions of the budget (of the decay step, where there is no budget).
    Raises InputError for what is out of range, and where warm-up and cooldown overlap.
    """

    total: int | None = None
    warmup: int = 0
    shape: Shape = "1-sqrt"
    final: float = 0.0
    tolerance: float = 0.05
    foldings: float = 8.0
    shortest: float = 0.1
    longest: float = 0.4

    def __post_init__(self) -> None:
        check_count("warmup", self.warmup)
        if self.shape not in SHAPES:
            raise InputError("shape", self.shape, "is not a known decay", f"choose one of {', '.join(SHAPES)}")
        if not 0 <= self.final <= 1:
            raise InputError("final", self.final, "is not a fraction of the learning rate", "give a number from 0 to 1")
        for name in ("tolerance", "foldings"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "is not positive", f"give {name} > 0")
        if not 0 < self.shortest <= self.longest <= 1:
            rule = f"and longest = {self.longest:g} are not fractions in this order"
            raise InputError("shortest cooldown", self.shortest, rule, "give 0 < shortest <= longest <= 1")
        if self.total is not None:
            self._check_budget(self.total)

    def _check_budget(self, total: int) -> None:
        if isinstance(total, float) and 0 < total <= 1:
            raise InputError(
                "total", total, "is a fraction, not a number of steps", "give the budget in optimizer steps"
            )
        check_count("total", total)
        if self.warmup + self.longest_cooldown > total:
            rule = f"overlaps the cooldown of up to {self.longest_cooldown} steps in a budget of {total}"
            raise InputError(
                "warmup", self.warmup, rule, "shorten one of them or raise the budget; all are steps, not epochs"
            )

    @property
    def longest_cooldown(self) -> int:
        """Steps of the longest cooldown that a budget allows; 0 without a budget."""
        return 0 if self.total is None else max(1, round(self.longest * self.total))

    @property
    def decision_step(self) -> int | None:
        """With a budget: the step at which the cooldown's length must be known."""
        return None if self.total is None else self.total - self.longest_cooldown

    def cooldown(self, relaxation: float | None, decay_at: int, *, budgeted: bool = True) -> int:
        """Steps of the cooldown, from the relaxation time in steps at the large learning rate (None: unknown, the
        longest).
        """
        unit = decay_at if self.total is None or not budgeted else self.total
        wanted = float("inf") if relaxation is None else self.foldings * relaxation / _AREA[self.shape]
        length = max(1, round(min(max(wanted, self.shortest * unit), self.longest * unit)))
        return length if self.total is None or budgeted else min(length, self.total - decay_at)

    def factor(self, step: int, decay_at: int | None, cooldown: int | None) -> float:
        """The learning rate of a step over the large one, in closed form; before the decision ``decay_at`` is None."""
        if decay_at is None or cooldown is None:
            return min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return float(_closed_form(self, decay_at, cooldown)(step))

    @property
    def mark(self) -> str:
        """SHA-256 of the settings: a state saved under other settings is refused by it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=256)
def _closed_form(rule: Rule, decay_at: int, cooldown: int) -> WarmupStableDecay:
    return WarmupStableDecay(1.0, decay_at + cooldown, rule.warmup, cooldown, rule.final, rule.shape)
