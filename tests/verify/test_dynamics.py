"""One protocol for every dynamics: bits, tables, coordinates, limits."""

from typing import Any

import numpy as np
import pytest

from numerics import sgd
from numerics.dynamics import (
    SAMPLINGS,
    EulerMaruyama,
    GradientFlow,
    Variant,
    VariantSGD,
    WeakSecondOrder,
    compact,
    trajectory,
)
from numerics.errors import InputError
from numerics.momentum_law import MomentumFluctuations, momentum_stability_limit
from numerics.problem import Problem
from numerics.schedule import Constant
from tests.verify.truth import ETA, SEED, SIGMA, FloatArray, Truth, few
from verify import oracle
from verify.case import Setup

SCHEMES = {"sde": EulerMaruyama, "sde2": WeakSecondOrder}


@few
@pytest.mark.parametrize("dynamics", ["without-replacement", "shuffle", "sde", "sde2"])
def test_bits_depend_on_neither_threads_nor_pieces_nor_company(truth: Truth, dynamics: str) -> None:
    model: Any = (
        VariantSGD(truth.problem, truth.kind, 10.0, Variant(sampling=dynamics, dropout=0.1, isotropic=0.1))
        if dynamics in SAMPLINGS
        else SCHEMES[dynamics](truth.problem, truth.kind, 10.0, ETA, True)
    )

    def final(replicas: int, threads: int, steps: list[int]) -> FloatArray:
        states = model.start(truth.u, replicas)
        noise = sgd.Noise(2, SIGMA, SEED)
        sgd.simulate(model, states, Constant(ETA), np.array(steps), noise=noise, threads=threads)
        return np.asarray(states)

    together = final(5, 1, [0, 120])
    assert np.isfinite(together).all()
    assert np.array_equal(together, final(5, 2, [0, 1, 7, 50, 120]))
    assert np.array_equal(together[:2], final(2, 1, [0, 120]))


def test_momentum_above_its_limit_is_refused(setup: Setup) -> None:
    limit = momentum_stability_limit(setup.kernel0, batch=1, momentum=0.9)
    with pytest.raises(InputError, match="exceeds the mean-square stability limit at momentum"):
        MomentumFluctuations(setup.kernel0, 1.01 * limit, 1, 0.9).covariance(1.0)


def test_gradient_flow_is_that_of_the_oracle(setup: Setup) -> None:
    flow = GradientFlow(setup.problem, setup.parametrization)
    start = 1.2 * setup.u0
    table = trajectory(
        flow, start, Constant(ETA), np.array([0, 50, 200]), noise=sgd.Noise(1, SIGMA, 0), replicas=3, threads=1
    )
    assert table.sizes == {"step": 3, "replica": 1}
    times = ETA * np.array([0.0, 50, 200])
    u = oracle.gradient_flow(setup.problem.X, setup.problem.y, start, setup.depth, times)
    w = np.array([oracle.predictor(v, setup.depth) for v in u])
    np.testing.assert_allclose(table["loss"].values[:, 0], setup.problem.train_loss(w), rtol=1e-7, atol=1e-15)


def test_every_dynamics_gives_the_same_table(setup: Setup) -> None:
    kind = setup.parametrization
    made = [
        VariantSGD(setup.problem, kind, 10.0, Variant(momentum=0.5)),
        EulerMaruyama(setup.problem, kind, 10.0, ETA, False),
        WeakSecondOrder(setup.problem, kind, 10.0, ETA, True),
        GradientFlow(setup.problem, kind),
    ]
    steps, noise = np.array([0, 3, 9]), sgd.Noise(1, SIGMA, 0)
    tables = [trajectory(m, setup.u0, Constant(ETA), steps, noise=noise, replicas=2, threads=1) for m in made]
    for table in tables:
        assert set(table.variables) == set(tables[0].variables)
        assert table["loss"].dims == ("step", "replica")
        np.testing.assert_allclose(table["rho"].values[0], setup.rho0, rtol=1e-9)


def test_compact_coordinates_keep_the_test_loss(setup: Setup) -> None:
    """Teacher and held-out rows."""
    random = np.random.default_rng(0)
    held = Problem(
        setup.problem.X, setup.problem.y, X_test=random.standard_normal((9, setup.problem.d)), y_test=random.random(9)
    )
    for problem in (setup.problem, held):
        reduced = problem.reduced(setup.direction)
        found = compact(reduced).test_loss(reduced.coordinates(setup.w0))
        np.testing.assert_allclose(found, problem.test_loss(setup.w0), rtol=1e-12)
