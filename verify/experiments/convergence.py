"""C4's convergence orders: the small-eta law in eta, the finite-eta law in the noise share, and where quasistatics
breaks down.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from numerics.check import Check, Margin
from numerics.schedule import Constant
from theory.conditions import QUASISTATIC_LIMIT
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Experiment, exact, judged
from verify.experiments import sde
from verify.experiments.common import displacement, slowest_rate
from verify.orders import Order, order

CHANGE = 0.2
LOADS = (0.03, 0.06, 0.12, 0.24)
SHARES = (0.002, 0.004, 0.008, 0.016)
_BASE = Case(depth=2.0, n=3, batch=2, load=0.5)


def relative_error(setup: Setup, replicas: int, *, small_eta: bool) -> tuple[float, float]:
    """(simulated change of ln rho) / (the law's) - 1 and its standard error."""
    burn = int(np.ceil(8 / slowest_rate(setup)))
    length = int(CHANGE / abs(setup.law.log_rate(setup.rho0, setup.eta)))
    steps = np.array([0, burn, burn + length])
    rate = setup.law.log_rate_small_eta if small_eta else setup.law.log_rate
    rho = setup.law.solve(rate, setup.rho0, Constant(setup.eta), steps)
    predicted = float(np.log(rho[-1] / rho[-2]))
    values = displacement(setup, steps, replicas, setup.seed) / predicted - 1
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(replicas))


@cache
def small_eta_order(seed: int) -> Order:
    """Error of the small-eta law against SGD over loads, at a noise share where nothing else errs."""
    setups = [replace(_BASE, load=load, noise=1e-4, seed=seed).setup() for load in LOADS]
    found = [relative_error(setup, 48, small_eta=True) for setup in setups]
    return order("small-eta law, in eta", LOADS, *zip(*found, strict=True), 1.0)


@cache
def finite_eta_order(seed: int) -> Order:
    """Error of the finite-eta law against SGD over ratios of slow to fast rate, at half the stability limit."""
    setups = [replace(_BASE, noise=share, seed=seed).setup() for share in SHARES]
    found = [relative_error(setup, 6000, small_eta=False) for setup in setups]
    return order("finite-eta law, in slow/fast", [separation(s) for s in setups], *zip(*found, strict=True), 1.0)


def separation(setup: Setup) -> float:
    """The ratio of slow to fast: rate of ln rho over the slowest decay of a residual; of order eta sigma^2."""
    return abs(setup.law.log_rate(setup.rho0, setup.eta)) / slowest_rate(setup)


def first_order_in_eta(setup: Setup, budget: Budget) -> list[Check]:
    """The small-eta law's error against SGD has slope 1 in eta."""
    return [_slope(small_eta_order(setup.seed), setup, budget)]


def next_order(setup: Setup, budget: Budget) -> list[Check]:
    """The finite-eta law has no such error: what is left has slope 1 in the ratio of slow to fast, of order eta
    sigma^2.
    """
    measured = finite_eta_order(setup.seed)
    declared = separation(setup) * QUASISTATIC_LIMIT / setup.noise_share
    return [
        _slope(measured, setup, budget),
        exact(
            "C4",
            "slow/fast where the error is 10 %",
            declared,
            measured.passes(0.1),
            margin=Margin(),
            situation=setup.situation(),
            side="lower",
        ),
    ]


def _slope(measured: Order, setup: Setup, budget: Budget) -> Check:
    margin = Margin(resolution=0.35)
    return judged(
        "C4",
        f"order of the {measured.name}",
        measured.expected,
        measured.slope,
        measured.sem,
        margin=margin,
        critical=budget.critical(48),
        situation=setup.situation(),
    )


def _finite_law_in_eta(budget: Budget) -> list[Check]:
    """The finite-eta law's errors over loads do not grow with eta: no first order is left to find."""
    setups = [replace(_BASE, load=load, noise=1e-4).setup() for load in LOADS[1:]]
    found = [relative_error(setup, 48, small_eta=False) for setup in setups]
    last, first = abs(found[-1][0]), max(abs(found[0][0]), found[0][1])
    facts = setups[0].situation()
    growth = LOADS[-1] / LOADS[1]
    return [
        exact("C4", "growth of the error", growth, last / first, margin=Margin(model=0.3 * growth), situation=facts)
    ]


def measured_orders(keys: set[str]) -> list[Order]:
    """The orders behind the experiments of these keys; measured once per process."""
    orders = {"C4:order in eta": small_eta_order, "C4:quasistatic breakdown": finite_eta_order}
    found = [measure(0) for key, measure in orders.items() if key in keys]
    if "C14:weak orders" in keys:
        flat = sde.linear(sde.BASE.setup())
        found += [sde.weak_order(flat, corrected=corrected) for corrected in (False, True)]
    return found


EXPERIMENTS = (
    Experiment(
        "C4",
        "order in eta",
        first_order_in_eta,
        (replace(_BASE, load=0.1),),
        (Control("finite-eta law in place of the small-eta one", _finite_law_in_eta),),
        comparisons=1,
        any_seed=False,
    ),
    Experiment("C4", "quasistatic breakdown", next_order, (_BASE,), (), comparisons=1, any_seed=False),
)
