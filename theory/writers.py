"""Printers of expressions as straight-line code, one per dialect: `math.`, `torch.` and `tl.` (Triton)."""

from typing import Any, Literal

import sympy
from sympy import Expr
from sympy.printing.pycode import PythonCodePrinter

Dialect = Literal["math", "torch", "tl"]


class Writer(PythonCodePrinter):  # type: ignore[misc]
    """Straight-line code: every power becomes products and roots of named values."""

    prefix = "math."

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": True})
        self.lines: list[str] = []
        self.names: dict[Expr, str] = {}

    def _print_Integer(self, expr: Expr) -> str:
        return repr(float(expr))

    def _print_Rational(self, expr: Expr) -> str:
        return repr(float(expr))

    _print_Half = _print_One = _print_Zero = _print_NegativeOne = _print_Integer
    _print_NumberSymbol = _print_Float = _print_Integer

    def _print_Abs(self, expr: Expr) -> str:
        return f"math.fabs({self._print(expr.args[0])})"

    def _print_sign(self, expr: Expr) -> str:
        x = self._named(expr.args[0])
        return f"(math.copysign(1.0, {x}) if {x} != 0.0 else 0.0)"

    def _print_Pow(self, expr: Expr, rational: bool = False) -> str:
        base, exponent = expr.as_base_exp()
        if base is sympy.E:
            return f"{self.prefix}exp({self._print(exponent)})"
        if exponent.is_number and exponent.is_negative:
            return f"(1.0/{self._print_Pow(sympy.Pow(base, -exponent, evaluate=False))})"
        if not (4 * exponent).is_Integer or exponent > 64:
            return self._real_power(self._named(base), self._print(exponent))
        factors = [self._power(base, int(exponent))] if exponent >= 1 else []
        factors += self._roots(base, exponent % 1)
        return factors[0] if len(factors) == 1 else "(" + "*".join(factors) + ")"

    def _roots(self, base: Expr, exponent: Expr) -> list[str]:
        """x^(1/2), x^(1/4) or both as square roots."""
        quarters = int(4 * exponent)
        roots = [f"{self.prefix}sqrt({self._named(base)})"] if quarters >= 2 else []
        return roots + ([f"{self.prefix}sqrt({self._named(sympy.sqrt(base))})"] if quarters % 2 else [])

    def _real_power(self, base: str, exponent: str) -> str:
        return f"({base}**{exponent})"

    def _power(self, base: Expr, exponent: int) -> str:
        """x, x*x, x*x*x, and named squares above."""
        x = self._named(base)
        if exponent <= 3:
            return x if exponent == 1 else "(" + "*".join([x] * exponent) + ")"
        half = self._named(sympy.Pow(base, exponent // 2, evaluate=False))
        return f"({half}*{half}*{x})" if exponent % 2 else f"({half}*{half})"

    def _named(self, value: Expr) -> str:
        """The name that holds `value`, defined by a line of its own where it has none yet."""
        if value.is_Symbol:
            return str(value)
        if value not in self.names:
            text = self._print(value)
            self.names[value] = f"p{len(self.names)}"
            self.lines.append(f"{self.names[value]} = {text}")
        return self.names[value]


class _TensorWriter(Writer):
    """For torch: the same, with its own names; a constant is a number, as no torch function takes one."""

    prefix = "torch."

    def _module_format(self, fqn: str, register: bool = True) -> str:
        return fqn.replace("math.", self.prefix)

    def _print(self, expr: Any, **settings: Any) -> str:
        if isinstance(expr, Expr) and expr.is_number:
            return repr(float(expr))
        return str(super()._print(expr, **settings))

    def _print_Abs(self, expr: Expr) -> str:
        return f"{self.prefix}abs({self._print(expr.args[0])})"

    def _print_sign(self, expr: Expr) -> str:
        return f"torch.sign({self._print(expr.args[0])})"


class _TritonWriter(_TensorWriter):
    """For a Triton kernel: hyperbolic functions and real powers through exp and log, accurate to a few ulp of 1."""

    prefix = "tl."

    def _print_sign(self, expr: Expr) -> str:
        x = self._named(expr.args[0])
        return f"tl.where({x} > 0.0, 1.0, tl.where({x} < 0.0, -1.0, 0.0))"

    def _real_power(self, base: str, exponent: str) -> str:
        return f"tl.exp({exponent}*tl.log({base}))"

    def _print_sinh(self, expr: Expr) -> str:
        x = self._named(expr.args[0])
        return f"(0.5*tl.exp({x}) - 0.5*tl.exp(-{x}))"

    def _print_cosh(self, expr: Expr) -> str:
        x = self._named(expr.args[0])
        return f"(0.5*tl.exp({x}) + 0.5*tl.exp(-{x}))"

    def _print_tanh(self, expr: Expr) -> str:
        return f"(1.0 - 2.0/(tl.exp(2.0*{self._named(expr.args[0])}) + 1.0))"

    def _print_tan(self, expr: Expr) -> str:
        x = self._named(expr.args[0])
        return f"(tl.sin({x})/tl.cos({x}))"

    def _no_form(self, expr: Expr) -> str:
        raise ValueError(f"{expr} has no form in a Triton kernel; use the torch engine")

    _print_asin = _print_acos = _print_atan = _print_asinh = _print_acosh = _print_atanh = _no_form


#: the line that a dialect's text needs before its functions
IMPORTS: dict[Dialect, str] = {
    "math": "import math\n",
    "torch": "import torch\n",
    "tl": "import triton.language as tl\n",
}
#: the printer of a dialect; one instance writes one function
WRITERS: dict[Dialect, type[Writer]] = {"math": Writer, "torch": _TensorWriter, "tl": _TritonWriter}
