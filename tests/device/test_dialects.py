"""The formulas that torch and Triton get are those that numba gets."""

import random

import pytest
import sympy

torch = pytest.importorskip("torch")

from numerics.specialise import step_formulas  # noqa: E402
from theory import lower, notation  # noqa: E402
from theory.parametrization import Coordinatewise, Radial, named  # noqa: E402

CASES = [("radial", depth) for depth in (1, 2, 2.5, 2.171, 3, 7)] + [
    *(("coordinatewise", 2.5), ("coordinatewise", 2.171), ("coordinatewise", 3), ("diagonal-difference", 2.5)),
    *(("diagonal-product", 3), ("sinh", 3), ("tanh", 3)),
]


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_torch_functions_are_pythons_on_tensors(name, depth):
    table = step_formulas(named(name, depth))
    plain, tensors, draw = lower.python(table), lower.tensors(table), random.Random(name)
    signs = (1,) if name == "radial" else (1, -1)
    for function, (arguments, _) in table.items():
        points = [[draw.uniform(0.2, 3) * draw.choice(signs) for _ in range(5)] for _ in arguments]
        found = tensors[function](*(torch.tensor(values, dtype=torch.float64) for values in points))
        expected = [plain[function](*values) for values in zip(*points, strict=True)]
        found = found.tolist() if isinstance(found, torch.Tensor) else [found] * 5
        assert found == pytest.approx(expected, rel=1e-13)


def test_a_power_that_has_no_roots_is_exp_and_log_in_triton():
    text = lower.source(step_formulas(named("radial", 2.171)), "tl")
    assert "tl.exp(0.5855*tl.log(q))" in text
    assert "**" not in text


def test_constants_are_numbers_as_no_tensor_function_takes_one():
    text = lower.source(
        step_formulas(Radial("scaled", sympy.sqrt(2) * notation.r * sympy.exp(sympy.Rational(1, 2)))), "tl"
    )
    assert "exp" not in text
    assert "sqrt(2" not in text


def test_a_function_that_triton_lacks_is_refused_in_words():
    arctangent = Coordinatewise("arctangent", sympy.atan(notation.u))
    assert "torch.atan" in lower.source(step_formulas(arctangent), "torch")
    with pytest.raises(ValueError, match="has no form in a Triton kernel; use the torch engine"):
        lower.source(step_formulas(arctangent), "tl")
