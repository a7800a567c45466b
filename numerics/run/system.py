"""A job's settings resolved: data, parametrization and start."""

from numerics.errors import InputError
from numerics.run.base_system import System
from numerics.run.loading import load_problem, start_direction
from numerics.run.radial_system import RadialSystem
from numerics.run.separable_system import SeparableSystem
from numerics.run.settings import AUTO_RHO0, Settings
from theory.parametrization import Parametrization, Radial, named

__all__ = ["RadialSystem", "SeparableSystem", "System", "load_parametrization", "make_system"]


def load_parametrization(settings: Settings) -> Parametrization:
    """The named parametrization. Raises InputError."""
    try:
        return named(settings.parametrization, settings.depth)
    except ValueError as error:
        name, _, rest = str(error).partition(" = ")
        value, _, rule = rest.partition(" is ")
        rule, _, remedy = rule.partition("; ")
        raise InputError(name, value.strip("'"), f"is {rule}", remedy) from None


def make_system(settings: Settings) -> System:
    """Problem, parametrization and start of a job. Raises InputError."""
    problem = load_problem(settings)
    parametrization = load_parametrization(settings)
    direction = start_direction(settings, problem)
    rho0 = AUTO_RHO0 * problem.norm_w_mn if settings.rho0 == "auto" else settings.rho0
    if isinstance(parametrization, Radial):
        return RadialSystem(settings, problem, parametrization, direction, float(rho0))
    return SeparableSystem(settings, problem, parametrization, direction, float(rho0))
