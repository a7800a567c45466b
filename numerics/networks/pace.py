"""How long the rest of a training will take, at the pace measured so far."""

from dataclasses import dataclass

#: seconds below which nobody asks
_SOON = 60


@dataclass
class Pace:
    """Steps of single networks: ``left`` to do, ``done`` here and the seconds that they took."""

    left: int
    done: int = 0
    seconds: float = 0.0

    def skip(self, steps: int) -> None:
        """Steps that an earlier call has done."""
        self.left -= steps

    def add(self, steps: int, seconds: float) -> None:
        """Steps done in ``seconds``."""
        self.left, self.done, self.seconds = self.left - steps, self.done + steps, self.seconds + seconds

    def __str__(self) -> str:
        """The rest of a progress line; empty where the end is near."""
        if not self.done or self.left * self.seconds / self.done < _SOON:
            return ""
        each = self.seconds / self.done
        return f"; {each:.2g} s a step of one network, {duration(self.left * each)} of training left"


def duration(seconds: float) -> str:
    """Seconds in words, two figures."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
