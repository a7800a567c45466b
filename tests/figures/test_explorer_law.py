"""The explorer's tabulated law is the law, and answers while a hand moves a slider."""

import time

import numpy as np
import pytest

from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant
from paper_figs import explorer_law, explorer_panels
from paper_figs.explorer_law import Setting
from paper_figs.svg import Surface

BASE = {"n": 8, "d": 30, "depth": 2.0, "load": 0.6, "batch": 4, "sigma": 0.08, "rho0": 1.5, "decay": 0.5, "seed": 0}
PLACES = ({}, {"depth": 3.0}, {"n": 2, "depth": 3.0}, {"load": 0.95, "batch": 64}, {"n": 2, "depth": 4.0, "rho0": 0.3})


def setting(**changes: float) -> Setting:
    return Setting(**{**BASE, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", PLACES)
def test_the_table_is_the_law(changes: dict[str, float]) -> None:
    here = setting(**changes)
    found = explorer_law.curves(here)
    made = explorer_law.problem(here.n, here.d, here.seed)[0]
    law = RadialLaw(explorer_law._manifold(here.n, here.d, here.seed, here.depth), here.batch, here.sigma)
    steps = np.unique(found.step[::40].astype(np.int64))
    path = law.path(here.rho0 * made.norm_w_mn, Constant(found.eta), steps)
    assert np.interp(steps, found.step, found.rho) == pytest.approx(path.rho / made.norm_w_mn, rel=1e-3)
    assert np.interp(steps, found.step, found.floor) == pytest.approx(path.floor, rel=1e-2)
    assert np.interp(steps, found.step, found.small_eta) == pytest.approx(path.rho_small_eta / made.norm_w_mn, rel=3e-3)


def test_a_move_of_a_slider_costs_less_than_a_tenth_of_a_second_of_processor_time() -> None:
    explorer_panels.panels(explorer_law.curves(setting()), None)
    spent = []
    for load in np.linspace(0.3, 0.9, 9):
        began = time.process_time()
        here = setting(load=float(load), n=20, d=60)
        explorer_panels.panels(explorer_law.curves(here), None) + explorer_panels.landscape(here.depth, 30.0)
        spent.append(time.process_time() - began)
    assert sorted(spent)[4] < 0.1


def test_depth_one_does_not_drift() -> None:
    found = explorer_law.curves(setting(depth=1.0))
    assert np.ptp(found.rho) == 0


def test_the_simulation_lies_on_the_curves() -> None:
    here = setting(sigma=0.1)
    found, runs = explorer_law.curves(here), explorer_law.simulated(here, replicas=16, records=12)
    frozen = np.minimum(runs["step"], found.decay_step)
    law = np.interp(frozen, found.step, found.rho)
    mean, sem = runs["rho"].T
    assert np.all(np.abs(mean - law) < 6 * sem + 0.03 * law + 1e-9)


def test_panels_are_labelled_pictures_and_the_sentence_names_the_outcome() -> None:
    here = setting(n=2, depth=4.0)
    found = explorer_law.curves(here)
    text = explorer_panels.panels(found, None) + explorer_panels.landscape(4.0, 30.0)
    assert text.count('<svg role="img" aria-label=') == 4
    assert "nan" not in text
    assert "stops before it" in explorer_panels.sentence(here, found)


def test_a_turn_by_half_a_circle_mirrors_the_surface_through_its_axis() -> None:
    z = np.linspace(0, 1, 25).reshape(5, 5)
    front, back = (Surface("t", 1.0, z, azimuth, elevation=90.0) for azimuth in (20.0, 200.0))
    x, y = np.array([0.3, -0.7]), np.array([-0.2, 0.9])
    across, down, _ = front.project(x, y, np.zeros(2))
    mirrored, lower, _ = back.project(-x, -y, np.zeros(2))
    assert across == pytest.approx(mirrored, abs=1e-9)  # pixels: rounding of sums of hundreds
    assert down == pytest.approx(lower, abs=1e-9)


def test_near_faces_are_painted_over_far_ones() -> None:
    surface = Surface("t", 1.0, np.zeros((3, 3)), azimuth=0.0)
    surface.faces(np.zeros((256, 3), dtype=np.uint8))
    heights = [float(part.split("M")[1].split()[1].split("L")[0]) for part in surface.parts[1:-1]]
    assert heights == sorted(heights)


def test_minima_lie_in_the_valley_of_the_drawn_loss() -> None:
    for depth in (1.0, 2.5, 5.0):
        minima = explorer_panels.minima(depth)
        assert np.abs(explorer_panels.train_loss(minima, depth)).max() < 1e-24  # rounding, squared
        assert explorer_panels.train_loss(minima + 0.1, depth).min() > 1e-4
