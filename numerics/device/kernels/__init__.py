"""Triton kernels: templates into which `numerics.specialise` puts a parametrization's formulas, as for numba's."""
