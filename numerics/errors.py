"""The one error a user can cause: what was given, which rule it breaks, what to do instead."""

from numbers import Real


class InputError(ValueError):
    """A refused input, told in one line: ``{parameter} = {value} {rule}; {remedy}``.

    >>> str(InputError("eta", 0.9, "exceeds the mean-square stability limit 0.41", "lower eta"))
    'eta = 0.9 exceeds the mean-square stability limit 0.41; lower eta'

    The command line prints it and exits with code 2.
    """

    def __init__(self, parameter: str, value: object, rule: str, remedy: str) -> None:
        super().__init__(parameter, value, rule, remedy)  # all four, so that joblib can send it between processes
        self.parameter, self.value, self.rule, self.remedy = parameter, value, rule, remedy

    def __str__(self) -> str:
        line = f"{self.parameter} = {_short(self.value)} {self.rule}; {self.remedy}"
        return " ".join(line.split())


def _short(value: object) -> str:
    """Six significant digits for a float, everything else as it prints."""
    if isinstance(value, Real) and not isinstance(value, int):
        return f"{float(value):.6g}"
    return str(value)
