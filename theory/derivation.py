"""A derivation is a frozen record whose residual, a difference of two independently obtained expressions, vanishes."""

from dataclasses import dataclass

import sympy
from sympy import Basic, Expr, MatrixBase, Symbol

from theory.identity import vanishes

Residual = tuple[Expr, ...]


@dataclass(frozen=True)
class Derivation:
    """One proved step: `statement` in a sentence, `expression` in symbols, `residual` the differences that vanish."""

    name: str
    claim: str
    statement: str
    expression: Basic
    residual: Residual

    @property
    def proved(self) -> bool:
        """Whether every component of the residual vanishes, symbolically and at random rational points."""
        return bool(self.residual) and all(vanishes(part) for part in self.residual)


def entries(*parts: Expr | MatrixBase) -> Residual:
    """Return the components of expressions and matrices as one flat tuple."""
    return tuple(
        sympy.sympify(entry) for part in parts for entry in (part if isinstance(part, MatrixBase) else (part,))
    )


def vector(name: str, size: int, **assumptions: bool) -> MatrixBase:
    """Return the column (size, 1) of symbols name1, name2, ..."""
    return sympy.Matrix([Symbol(f"{name}{i + 1}", **(assumptions or {"real": True})) for i in range(size)])


def matrix(name: str, rows: int, columns: int) -> MatrixBase:
    """Return a (rows, columns) matrix of real symbols."""
    return sympy.Matrix(rows, columns, lambda i, j: Symbol(f"{name}{i + 1}{j + 1}", real=True))


def symmetric(name: str, size: int) -> MatrixBase:
    """Return a symmetric (size, size) matrix of real symbols."""
    return sympy.Matrix(size, size, lambda i, j: Symbol(f"{name}{min(i, j) + 1}{max(i, j) + 1}", real=True))
