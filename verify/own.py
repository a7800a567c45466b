"""The claims on a user's own problem: `python -m verify --data my.npz --eta ... --batch ... --sigma ...`."""

import argparse
from dataclasses import replace

import numpy as np

from numerics import data
from numerics.errors import InputError
from verify.case import Setup
from verify.harness import Plan, plan
from verify.registry import EXPERIMENTS

_SHARE = 3e-4  # tr S / |u|^2 where sigma is not given
_LOAD = 0.5


def own_setup(options: argparse.Namespace) -> Setup:
    """The user's problem at the user's settings; what is not given is put where the claims are meant to hold."""
    n = 8 if options.n is None and options.data in data.NAMES else options.n
    problem = data.load(options.data, n=n, seed=options.seed, target=options.target)
    if options.depth < 1:
        raise InputError("depth", options.depth, "is below 1", "give a depth of at least 1")
    if options.batch < 1:
        raise InputError("batch", options.batch, "is not a batch size", "give at least 1")
    rho0 = 1.5 * problem.norm_w_mn if options.rho0 is None else options.rho0
    setup = Setup(problem, options.depth, options.batch, 1.0, 1.0, rho0, options.seed)
    for name in ("eta", "sigma"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(name, value, "is not positive", "give a number above 0")
    setup = replace(setup, eta=_LOAD * setup.limit if options.eta is None else options.eta)
    share = setup.noise_share
    sigma = float(np.sqrt(_SHARE / share)) if options.sigma is None else options.sigma
    return replace(setup, sigma=sigma)


def own_plan(options: argparse.Namespace) -> Plan:
    """The experiments that make sense on any problem, each once. Outside its conditions a claim says so, and runs
    nothing.
    """
    setup = own_setup(options)
    print(
        f"{setup.problem.name}: n = {setup.problem.n}, d = {setup.problem.d}, D = {setup.depth:g}, B = {setup.batch}, "
        f"eta = {setup.eta:.4g} ({setup.load_share:.0%} of the stability limit {setup.limit:.4g}), "
        f"sigma = {setup.sigma:.4g} "
        f"(tr S/|u|^2 = {setup.noise_share:.2g}), rho0 = {setup.rho0:.4g}"
    )
    chosen = [replace(e, cases=(), controls=(), domain=None, examples=1) for e in EXPERIMENTS if e.own_data]
    empty = plan(chosen, everything=chosen, seed=options.seed)
    return Plan(empty.budget, tuple((e, setup) for e in chosen))
