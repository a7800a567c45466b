"""The power law without sympy: its file is what the theory writes, and its functions are those of `theory.lower`."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numerics import power_law_formulas
from numerics.errors import InputError
from numerics.power_law import PowerLaw, source
from numerics.radial_manifold import RadialManifold
from theory import lower
from theory.parametrization import named

ROUNDING = 1e-13  # relative: a power of a power against a product


def test_the_file_of_formulas_is_what_the_theory_writes():
    written = Path(power_law_formulas.__file__).read_text()
    assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(source()))


@pytest.mark.parametrize("depth", [1, 1.5, 2, 2.171, 3, 7.5])
def test_its_functions_are_those_lowered_for_one_depth(depth):
    own, told = PowerLaw(depth).functions, lower.python(lower.functions(named("radial", depth)))
    assert set(own) == set(told)
    for name, function in told.items():
        for r in (0.3, 1.0, 2.7):
            rho = (0.5 * r**depth,) if name == "mobility" else ()
            np.testing.assert_allclose(own[name](r, *rho), function(r, *rho), rtol=ROUNDING, atol=1e-300, err_msg=name)


@pytest.mark.parametrize("depth", [1.5, 3])
def test_a_manifold_of_it_is_that_of_the_expression(depth):
    draw = np.random.default_rng(0)
    X, y = draw.standard_normal((4, 9)), draw.standard_normal(4)
    ours, told = (RadialManifold(p, X @ X.T, y, 0.7) for p in (PowerLaw(depth), named("radial", depth)))
    for rho in (0.0, 0.2, 3.0):
        np.testing.assert_allclose(ours.kernel(rho), told.kernel(rho), rtol=ROUNDING)
        np.testing.assert_allclose(
            [ours.gain(ours.radius(rho), order) for order in range(3)],
            [told.gain(told.radius(rho), order) for order in range(3)],
            rtol=ROUNDING,
        )
    nu, r = np.array([0.4, -1.0]), np.array([1.2, 0.8])
    np.testing.assert_allclose(ours.relaxed(nu, r), told.relaxed(nu, r), rtol=1e-12)


def test_a_depth_below_one_is_refused():
    with pytest.raises(InputError, match=r"depth = 0.5 is below 1 or not a number"):
        PowerLaw(0.5)


def test_neither_sympy_nor_scipy_is_imported_for_the_advice():
    code = (
        "import sys; from numerics.run.cli import execute; execute(['advise', '--budget', '5000']);"
        "print([m for m in ('sympy', 'scipy', 'numba', 'torch', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")
