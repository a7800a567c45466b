"""The advisor against brute force, `numerics.run.advise_check`: two problems here, 400 by its command."""

from dataclasses import replace

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.run import advise_check
from numerics.run.advise_check import CLOSE, WANTED, interval, random_case, ratio, ratios, text


@pytest.mark.parametrize("seed", [10_010, 10_049])  # short budgets
def test_the_advised_schedule_is_as_good_as_the_best_found(seed):
    assert ratio(replace(random_case(seed), depth=2.0)) < CLOSE  # a depth that other tests have compiled


@pytest.mark.full
def test_the_advice_is_within_two_percent_in_95_percent_of_random_problems(tmp_path, seed_shift, capsys):
    first = 20_000 + 400 * seed_shift
    found = ratios(range(first, first + 400), tmp_path, 1)
    with capsys.disabled():
        print("\n" + text(found))
    assert sum(value < CLOSE for value in found.values()) >= WANTED * 400


def test_the_search_finds_what_is_planted(monkeypatch):
    """A loss with its minimum at one learning rate and one decay step of the grid."""
    case = random_case(0)

    def losses(self, eta, decays, seed):
        return [abs(eta - 0.7) + abs(at / self.budget - 0.4) for at in decays]

    monkeypatch.setattr(advise_check.Case, "losses", losses)
    assert advise_check.search(case, 1.0) == (0.7, round(0.4 * case.budget))


def test_branches_of_one_trunk_are_runs_of_their_own():
    """Decays branched off one trunk end as runs made for each: the same draws at the same steps."""
    case = replace(random_case(3), budget=500)
    eta = 0.5 * case.advice().stability_limit
    decays = (round(0.1 * case.budget), round(0.5 * case.budget))
    together = case.losses(eta, decays, 7)
    assert together == [case.losses(eta, (at,), 7)[0] for at in decays]


def test_finished_problems_are_not_run_again_and_other_settings_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(advise_check, "ratio", lambda case: 1.0 + case.budget * 1e-9)
    first = ratios(range(3), tmp_path, 1)
    monkeypatch.setattr(advise_check, "ratio", lambda case: pytest.fail("run again"))
    assert ratios(range(3), tmp_path, 1) == first
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["0.json", "1.json", "2.json"]
    monkeypatch.setitem(advise_check.SETTINGS, "replicas", 3)
    with pytest.raises(InputError, match="holds the work of a run that differs in settings; choose another folder"):
        ratios(range(3), tmp_path, 1)


def test_the_interval_is_clopper_pearsons_and_decides_the_word():
    assert interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert "at least 95%, shown" in text({seed: 1.0 for seed in range(100)})
    assert "at least 95%, not shown" in text({seed: 1.0 for seed in range(50)})
    found = {seed: 1.5 if seed < 20 else 1.0 for seed in range(100)}
    assert "refuted" in text(found)
    assert "missed (seed: ratio): 0: 1.500, 1: 1.500" in text(found)
    assert "99.0000" in text({0: np.inf, 1: 1.0})
