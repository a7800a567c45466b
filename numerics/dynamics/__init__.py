"""Dynamics beside plain SGD, one protocol, one file per method. Imports no law.

`protocol` says what a dynamics is and runs any of them to one xarray dataset; `variant` is SGD and heavy ball under
every noise model; `sde` the stochastic differential equation, by Euler-Maruyama or a scheme of second weak order;
`flow` gradient flow. The slow law under the same protocol is `numerics.slow_dynamics`, as it is a law.
"""

from numerics.dynamics.flow import GradientFlow
from numerics.dynamics.protocol import Dynamics, Watched, compact, trajectory
from numerics.dynamics.sde import EulerMaruyama, PlaneEulerMaruyama, WeakSecondOrder
from numerics.dynamics.variant import LABEL_NOISE, SAMPLINGS, Variant, VariantSGD

__all__ = [
    "LABEL_NOISE",
    "SAMPLINGS",
    "Dynamics",
    "EulerMaruyama",
    "GradientFlow",
    "PlaneEulerMaruyama",
    "Variant",
    "VariantSGD",
    "Watched",
    "WeakSecondOrder",
    "compact",
    "trajectory",
]
