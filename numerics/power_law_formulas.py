"""Written by `python -m numerics.power_law` from theory: the scalar functions of g(r) = r^(D-1)."""

import math

NAMES = (
    "gain",
    "gain_slope",
    "norm",
    "norm_slope",
    "kernel_gram",
    "kernel_label",
    "kernel_gram_slope",
    "kernel_label_slope",
    "mobility",
    "log_invariant",
    "gain_of_r_0",
    "gain_of_r_1",
    "gain_of_r_2",
)


def gain(q: float, D: float) -> float:
    """`gain` of `theory.lower` at g(r) = r^(D-1)."""
    return float(q ** ((1 / 2) * D - 1 / 2))


def gain_slope(q: float, D: float) -> float:
    """`gain_slope` of `theory.lower` at g(r) = r^(D-1)."""
    return float(q ** ((1 / 2) * D - 3 / 2) * (D - 1))


def norm(r: float, D: float) -> float:
    """`norm` of `theory.lower` at g(r) = r^(D-1)."""
    return float(r**D)


def norm_slope(r: float, D: float) -> float:
    """`norm_slope` of `theory.lower` at g(r) = r^(D-1)."""
    return float(D * r ** (D - 1))


def kernel_gram(r: float, D: float) -> float:
    """`kernel_gram` of `theory.lower` at g(r) = r^(D-1)."""
    return float(r ** (2 * D - 2))


def kernel_label(r: float, D: float) -> float:
    """`kernel_label` of `theory.lower` at g(r) = r^(D-1)."""
    return float((D**2 - 1) / r**2)


def kernel_gram_slope(r: float, D: float) -> float:
    """`kernel_gram_slope` of `theory.lower` at g(r) = r^(D-1)."""
    return float(2 * r ** (2 * D - 3) * (D - 1))


def kernel_label_slope(r: float, D: float) -> float:
    """`kernel_label_slope` of `theory.lower` at g(r) = r^(D-1)."""
    return float(2 * (1 - D**2) / r**3)


def mobility(r: float, rho: float, D: float) -> float:
    """`mobility` of `theory.lower` at g(r) = r^(D-1)."""
    return float(D * r ** (2 * D) * rho / (r * (D**2 * (r ** (2 * D) - rho**2) + rho**2)))


def log_invariant(r: float, D: float) -> float:
    """`log_invariant` of `theory.lower` at g(r) = r^(D-1)."""
    return float((D - 1) * math.log(r) / D)


def gain_of_r_0(r: float, D: float) -> float:
    """`gain_of_r_0` of `theory.lower` at g(r) = r^(D-1)."""
    return float(r ** (D - 1))


def gain_of_r_1(r: float, D: float) -> float:
    """`gain_of_r_1` of `theory.lower` at g(r) = r^(D-1)."""
    return float(r ** (D - 1) * (D - 1) / r)


def gain_of_r_2(r: float, D: float) -> float:
    """`gain_of_r_2` of `theory.lower` at g(r) = r^(D-1)."""
    return float(r ** (D - 1) * (D - 2) * (D - 1) / r**2)
