"""The problem of the tests of dynamics, and its parametrizations."""

import numpy as np
import pytest

from tests.verify.truth import PREDICTORS, Truth
from theory.parametrization import named
from verify.case import Case, Setup


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Case(depth=3.0, n=6, extra=2, seed=4).setup()


@pytest.fixture(scope="module", params=PREDICTORS)
def truth(request: pytest.FixtureRequest, setup: Setup) -> Truth:
    """Radial from its manifold of minima; the others from a random point."""
    kind, predictor = named(request.param, 3), PREDICTORS[request.param]
    if request.param == "radial":
        return Truth(setup.problem, kind, predictor, setup.u0)
    size = setup.problem.d * len(kind.factors)
    u = 0.3 + 0.7 * np.random.default_rng(2).random(size)
    return Truth(setup.problem, kind, predictor, u)
