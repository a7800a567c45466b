"""A job's settings resolved: data, parametrization and start."""

from numerics import data, start
from numerics.errors import InputError
from numerics.problem import Problem
from numerics.run.base_system import FloatArray, System
from numerics.run.radial_system import RadialSystem
from numerics.run.separable_system import SeparableSystem
from numerics.run.settings import AUTO_RHO0, Settings
from theory.parametrization import Parametrization, Radial, named

__all__ = ["RadialSystem", "SeparableSystem", "System", "load_parametrization", "load_problem", "make_system"]

DEFAULT_ROWS = 20
SMALL_ROWS = 8


def load_problem(settings: Settings) -> Problem:
    """The data as a problem. A file is taken whole unless n is given."""
    n = DEFAULT_ROWS if settings.n is None and settings.data in data.NAMES else settings.n
    if settings.small and settings.data in data.NAMES:
        n = min(n or SMALL_ROWS, SMALL_ROWS)
    return data.load(settings.data, n=n, seed=settings.seed, features=settings.features, target=settings.target)


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
    direction = start.null_direction(problem, settings.seed, _null_source(problem))
    rho0 = AUTO_RHO0 * problem.norm_w_mn if settings.rho0 == "auto" else settings.rho0
    if isinstance(parametrization, Radial):
        return RadialSystem(settings, problem, parametrization, direction, float(rho0))
    return SeparableSystem(settings, problem, parametrization, direction, float(rho0))


def _null_source(problem: Problem) -> FloatArray | None:
    """A start that came with the data sets the direction, where it has the right length."""
    return problem.u0 if problem.u0 is not None and problem.u0.shape == (problem.d,) else None
