"""Radial power laws g(r) = r^(D-1) without sympy: the functions of `theory.lower`, written out once for every depth D.

Importing sympy takes longer than the law takes to answer. ``python -m numerics.power_law`` writes
`numerics.power_law_formulas` from the theory; a test compares that file with what the theory says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from numerics.errors import InputError

Scalar = Callable[..., float]
_HEADER = '"""Written by `python -m numerics.power_law` from theory: the scalar functions of g(r) = r^(D-1)."""\n\n'


@dataclass(frozen=True)
class PowerLaw:
    """F(u) = |u|^(D-1) u, a stand-in for ``named("radial", depth)`` where no expression is needed.

    Raises InputError: a depth below 1.
    """

    depth: float

    def __post_init__(self) -> None:
        if not 1 <= self.depth < float("inf"):
            raise InputError("depth", self.depth, "is below 1 or not a number", "give a depth such as 3")

    @cached_property
    def functions(self) -> dict[str, Scalar]:
        """Name -> function, those of `theory.lower.functions`."""
        return {name: function for name, function in self._all.items() if not name.startswith("gain_of_r")}

    @cached_property
    def gains(self) -> tuple[Scalar, ...]:
        """g and its first two derivatives in r."""
        return tuple(self._all[f"gain_of_r_{order}"] for order in range(3))

    @cached_property
    def _all(self) -> dict[str, Scalar]:
        from numerics import power_law_formulas as formulas

        return {name: partial(getattr(formulas, name), D=float(self.depth)) for name in formulas.NAMES}


def source() -> str:
    """The text of `numerics.power_law_formulas`."""
    from sympy import pycode

    from theory import lower, notation

    r, D = notation.r, notation.D
    g = r ** (D - 1)
    table = lower._any_radial(g) | {f"gain_of_r_{order}": ((r,), g.diff(r, order)) for order in range(3)}
    texts = [
        f"def {name}({', '.join(f'{symbol}: float' for symbol in (*arguments, D))}) -> float:\n"
        f'    """`{name}` of `theory.lower` at g(r) = r^(D-1)."""\n'
        f"    return float({pycode(expression)})"
        for name, (arguments, expression) in table.items()
    ]
    names = "".join(f'    "{name}",\n' for name in table)
    return f"{_HEADER}import math\n\nNAMES = (\n{names})\n\n\n" + "\n\n\n".join(texts) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    from numerics.files import write_bytes

    write_bytes(Path(__file__).with_name("power_law_formulas.py"), source().encode())
