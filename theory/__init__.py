"""Symbolic derivations: one sympy expression per parametrization, everything else follows from it."""
