"""Lower derived expressions to plain Python source: scalar functions that numba compiles, or functions of tensors.

The text is deterministic: the same expressions give the same text in every process, so that compiled modules can be
cached by its hash. Square roots are `sqrt`, integer powers are products; calls are those of one dialect: `math.`
(numba), `torch.` (tensors) or `tl.` (the body of a Triton kernel).
"""

from collections.abc import Callable
from types import CodeType
from typing import Any

import sympy
from sympy import Expr, Symbol

from theory import notation
from theory import scalar_coefficients as coefficients
from theory.parametrization import Parametrization, Radial, Separable
from theory.writers import IMPORTS, WRITERS, Dialect, Writer

Functions = dict[str, tuple[tuple[Symbol, ...], Expr]]
Scalar = Callable[..., float]

HYPERBOLIC = frozenset({"sinh", "cosh", "tanh", "asinh", "acosh", "atanh"})
CALLS = HYPERBOLIC | {"exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "erf", "Abs", "sign"}


def functions(parametrization: Parametrization) -> Functions:
    """Return name -> (arguments, expression) of every scalar function numerics needs of `parametrization`.

    Radial: gain, gain_slope in q = |u|^2; norm, norm_slope, kernel_gram, kernel_label and their slopes in r;
    mobility in (r, rho); log_invariant in r where it has a closed form. Separable: value, slope_*, curvature_*.
    Raises ValueError if a symbol other than the arguments is left.
    """
    table = _radial(parametrization.g) if isinstance(parametrization, Radial) else _separable(parametrization)
    for name, (arguments, expression) in table.items():
        _closed(name, arguments, expression)
    return table


def source(functions: Functions, dialect: Dialect = "math") -> str:
    """Return Python source: the dialect's import and one `def name(arguments)` per function, floats throughout.

    Raises ValueError where a function has no form in the dialect.
    """
    definitions = ("\n\n" + _definition(WRITERS[dialect](), name, *entry) for name, entry in functions.items())
    return IMPORTS[dialect] + "".join(definitions)


def python(functions: Functions) -> dict[str, Scalar]:
    """Return name -> plain Python callable, made from `source(functions)`."""
    return _executed(functions, "math")


def tensors(functions: Functions) -> dict[str, Callable[..., Any]]:
    """Return name -> callable on torch tensors of one shape; constants come back as floats. Imports torch."""
    return _executed(functions, "torch")


def _executed(functions: Functions, dialect: Dialect) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    code: CodeType = compile(source(functions, dialect), "<theory.lower>", "exec")
    exec(code, namespace)  # text generated above, never a user's
    return {name: namespace[name] for name in functions}


def _radial(g: Expr) -> Functions:
    """A power law is worked out with a symbol for its depth: exponents such as 171/1000 are slow in sympy."""
    depth = coefficients.power_law_depth(g)
    if depth is None:
        return _any_radial(g)
    table = _any_radial(g.subs(notation.r, 1) * notation.r ** (notation.D - 1))
    return {name: (arguments, value.subs(notation.D, depth)) for name, (arguments, value) in table.items()}


def _any_radial(g: Expr) -> Functions:
    r, q, rho = notation.r, notation.q, notation.rho
    gram, label = coefficients.kernel_gram(g), coefficients.kernel_label(g)
    law = {
        "norm": coefficients.norm(g),
        "norm_slope": coefficients.norm(g).diff(r),
        "kernel_gram": gram,
        "kernel_label": label,
        "kernel_gram_slope": gram.diff(r),
        "kernel_label_slope": label.diff(r),
    }
    table: Functions = {
        "gain": ((q,), coefficients.tidy(g.subs(r, sympy.sqrt(q)))),
        "gain_slope": ((q,), coefficients.tidy((g.diff(r) / r).subs(r, sympy.sqrt(q)))),
        **{name: ((r,), coefficients.tidy(expression)) for name, expression in law.items()},
        "mobility": ((r, rho), coefficients.mobility(g)),
    }
    invariant = coefficients.log_invariant(g)
    return table if invariant is None else {**table, "log_invariant": ((r,), invariant)}


def _separable(parametrization: Separable) -> Functions:
    factors, value = parametrization.factors, parametrization.expression
    table: Functions = {"value": (factors, smooth(value, factors))}
    for factor in factors:
        table[f"slope_{factor}"] = (factors, smooth(value.diff(factor), factors))
    for i, first in enumerate(factors):
        for second in factors[i:]:
            table[f"curvature_{first}{second}"] = (factors, smooth(value.diff(first, second), factors))
    return table


def smooth(expression: Expr, factors: tuple[Symbol, ...]) -> Expr:
    """Return `expression` with x = sign(x) |x| worked out, so that no delta and no removable 0/0 is left at x = 0."""
    if not expression.has(sympy.Abs, sympy.sign):
        return sympy.powsimp(expression)
    expression = expression.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
    for x in factors:
        expression = _split_sign(expression, x)
    return expression


def _split_sign(expression: Expr, x: Symbol) -> Expr:
    """Rewrite in m = |x| and s = sign(x), use s^2 = 1, and return to x."""
    m, s = sympy.Symbol("m", positive=True), sympy.Symbol("s", nonzero=True, real=True)
    split = expression.subs({sympy.Abs(x): m, sympy.sign(x): s}).subs(x, s * m)
    split = sympy.powsimp(sympy.expand(sympy.powsimp(sympy.expand(split))))
    split = split.replace(
        lambda e: e.is_Pow and e.base == s and e.exp.is_integer, lambda e: s if e.exp.is_odd else sympy.S.One
    )
    return sympy.Add(*[_join_sign(term, x, m, s) for term in sympy.Add.make_args(split)])


def _join_sign(term: Expr, x: Symbol, m: Symbol, s: Symbol) -> Expr:
    """c m^k or c s m^k as a power of x where it is one, else as x |x|^(k-1) (k >= 1) or sign(x) |x|^k."""
    if term == 0:
        return term
    k, odd = sympy.expand(sympy.powsimp(m * term.diff(m) / term)), term.has(s)
    rest = sympy.powsimp(term / m**k / s if odd else term / m**k)
    if k.has(m) or rest.has(m, s):
        return term.subs({m: sympy.Abs(x), s: sympy.sign(x)})
    if (k.is_odd and odd) or (k.is_even and not odd):
        return rest * x**k
    if not odd:
        return rest * sympy.Abs(x) ** k
    return rest * (x * sympy.Abs(x) ** (k - 1) if (k - 1).is_nonnegative else sympy.sign(x) * sympy.Abs(x) ** k)


def _closed(name: str, arguments: tuple[Symbol, ...], expression: Expr) -> None:
    free = sorted(str(symbol) for symbol in expression.free_symbols - set(arguments))
    if free:
        raise ValueError(f"{name} = {expression} still has the symbol {', '.join(free)}; put a number in its place")
    heads = {type(part).__name__ for part in expression.atoms(sympy.Function, sympy.Derivative, sympy.Integral)}
    strange = sorted(heads - CALLS)
    if strange:
        raise ValueError(f"{name} = {expression} has no math. call for {', '.join(strange)}; use elementary functions")


def _definition(writer: Writer, name: str, arguments: tuple[Symbol, ...], expression: Expr) -> str:
    shared, (result,) = sympy.cse([expression], symbols=sympy.numbered_symbols("c"), order="canonical")
    for symbol, part in shared:
        text = writer.doprint(part)  # may append the lines it needs
        writer.lines.append(f"{symbol} = {text}")
    text = writer.doprint(result)
    lines = [*writer.lines, f"return {text}"]
    signature = ", ".join(str(argument) for argument in arguments)
    return f"def {name}({signature}):\n" + "".join(f"    {line}\n" for line in lines)
