"""The scene of a choice, by its parametrization."""

from numerics.run.radial_system import RadialSystem
from numerics.run.separable_system import SeparableSystem
from numerics.run.settings import Settings
from numerics.run.simulate_base import Scene
from numerics.run.simulate_options import Choice
from numerics.run.simulate_radial import RadialScene
from numerics.run.simulate_separable import SeparableScene
from numerics.run.system import make_system

__all__ = ["Scene", "make_scene"]


def make_scene(settings: Settings, choice: Choice) -> Scene:
    """Raises InputError for bad data."""
    base = make_system(settings)
    if isinstance(base, RadialSystem):
        return RadialScene(base, choice)
    assert isinstance(base, SeparableSystem)
    return SeparableScene(base, choice)
