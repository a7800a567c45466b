"""A sweep's configuration: its design, and what is refused before anything is written."""

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.sweep import config
from tests.sweep.small import CONFIG, SIMULATED, sweep


def test_an_option_is_left_out_where_it_plays_no_part_and_refused_where_it_never_does():
    assert [point.momentum for point in sweep(**SIMULATED).points] == [0, 0, 0.5, 0.5, 0, 0]
    with pytest.raises(InputError, match=r"flip = 0\.1 has no meaning for noise = gaussian; leave it out"):
        sweep(**{**SIMULATED, "fixed": {**SIMULATED["fixed"], "flip": 0.1}})
    with pytest.raises(InputError, match="momentum = fast is not a number"):
        sweep(**{**SIMULATED, "fixed": {"momentum": "fast"}})
    with pytest.raises(InputError, match=r"key = momentum is unknown in \[fixed\]"):
        sweep(fixed={"momentum": 0.5})


def test_draws_depend_on_name_and_seed_alone():
    uniform = {"distribution": "uniform", "low": 0.1, "high": 0.9}
    random = {**CONFIG["random"], "eta_fraction": uniform}
    alone, together = sweep(), sweep(random=random, grid={"depth": [2, 3]})
    assert alone.draws["sigma"] == together.draws["sigma"]
    many = {"draws": 4000, "seed": 1, "batch": {"distribution": "integers", "low": 1, "high": 4}}
    many["sigma"] = CONFIG["random"]["sigma"]
    draws = config.parse({**CONFIG, "grid": {}, "random": many}).draws
    counts = np.bincount(draws["batch"], minlength=5)[1:]
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))
    logs = np.log10(draws["sigma"])
    assert abs(logs.mean() + 1.5) < 5 * logs.std() / np.sqrt(4000)
    assert -2 <= logs.min() < -1.99
    assert -1.01 < logs.max() <= -1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"job": "phase4"}, r"job = phase4 cannot be swept; did you mean phase"),
        ({"gird": {}}, r"key = gird is unknown; did you mean grid\?"),
        ({"block": 1}, r"block = 1 is not a whole number of at least 2"),
        ({"fixed": {"dept": 3}}, r"key = dept is unknown in \[fixed\]; did you mean depth\?"),
        ({"fixed": 3}, r"fixed = 3 is not a table"),
        ({"grid": {"sigmma": [1]}}, r"key = sigmma is unknown in \[grid\]; did you mean sigma\?"),
        ({"grid": {"batch": []}}, r"batch = \[\] is no list of values"),
        ({"grid": {"batch": [1, 1]}}, r"batch = \[1, 1\] holds a value twice"),
        ({"grid": {"batch": [0, 1]}}, r"batch = 0 is below 1; give at least 1"),
        ({"grid": {"n": [5]}}, r"setting = n is given twice"),
        ({"grid": {"depth": {"from": 1, "to": 3}}}, r"depth.count = None is not a whole number"),
        ({"grid": {"depth": {"from": 1, "too": 3, "count": 3}}}, r"key = too is unknown in \[grid.depth\]"),
        ({"grid": {"depth": {"from": 0, "to": 3, "count": 3, "scale": "log"}}}, r"depth.from = 0 is not positive"),
        ({"random": {"draws": 2, "sigma": {}}}, r"random.seed = None is not a whole number"),
        ({"random": {"draws": 2, "seed": 1}}, r"random = empty leaves nothing to draw"),
        ({"random": {"draws": 2, "seed": 1, "depth": {"distribution": "normal"}}}, r"distribution = normal is unknown"),
        (
            {"random": {"draws": 2, "seed": 1, "depth": {"distribution": "uniform", "low": 3, "high": 2}}},
            r"depth.high = 2 is not above low = 3",
        ),
        (
            {"random": {"draws": 2, "seed": 1, "depth": {"distribution": "uniform", "low": 0, "hihg": 2}}},
            r"key = hihg is unknown in \[random.depth\]; did you mean high\?",
        ),
        ({"grid": {}, "random": {}}, r"grid = empty leaves nothing to sweep over"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as refusal:
        sweep(**changes)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text("job = phase2")
    for path in (tmp_path / "a.toml", tmp_path / "none.toml"):
        with pytest.raises(InputError, match=r"CONFIG = .* (is not valid|cannot be read)"):
            config.load(path)
