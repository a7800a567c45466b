"""A sweep's bits depend on what it is asked for; what fails is named; what is damaged is found and computed again."""

import json
import re

import numpy as np
import pytest
import xarray

from numerics.check import mean_and_sem
from numerics.errors import InputError
from numerics.run import phase2, simulate_found
from numerics.run.check import verify
from numerics.run.settings import validated
from numerics.run.simulate_scene import make_scene
from numerics.run.sweep import status_text
from numerics.run.system import make_system
from numerics.sweep.engines import Lost, local
from numerics.sweep.shards import compute, shards
from tests.sweep.small import CONFIG, SIMULATED, do, sweep


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than the sweep."""
    monkeypatch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A finished sweep's folder and hash."""
    out = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)
        return out, do(sweep(), out).digest


def backwards(tasks):
    yield from ((i, compute(tasks[i])) for i in reversed(range(len(tasks))))


def interrupted_after(count):
    def engine(tasks):
        for i, task in enumerate(tasks):
            if i == count:
                raise KeyboardInterrupt
            yield i, compute(task)

    return engine


def counting(engine, computed):
    def counted(tasks):
        for pair in engine(tasks):
            computed.append(pair[0])
            yield pair

    return counted


def test_a_sweep_holds_every_point_with_standard_error_and_prediction(reference):
    with xarray.open_dataset(reference[0] / "sweep.nc", engine="h5netcdf") as data:
        assert dict(data.sizes) == {"eta_fraction": 2, "draw": 2}
        assert data["sigma"].dims == ("draw",)
        for name in ("rho", "rho_sem", "rho_prediction", "train_loss", "test_loss", "norm", "eta", "stability_limit"):
            assert np.all(np.isfinite(data[name])), name
            assert data[name].attrs["long_name"]
        np.testing.assert_allclose(data["eta"], data["eta_fraction"] * data["stability_limit"])
        assert set(data["error"].values.ravel()) == {""}
    assert verify(reference[0])[1] == {}


def test_blocks_join_to_exactly_the_run_of_all_replicas(reference):
    point = sweep().points[0]
    system = make_system(validated(**point.model_dump()))
    outcome = phase2.run(system, lambda _: None, lambda _: None)
    with xarray.open_dataset(reference[0] / "sweep.nc", engine="h5netcdf") as data:
        first = data.isel(eta_fraction=0, draw=0)
        mean, sem = mean_and_sem(outcome.simulation["rho_slow"][-1])
        assert (float(first["rho"]), float(first["rho_sem"])) == (mean, sem)
        assert float(first["rho_prediction"]) == outcome.law.rho[-1]


def test_bits_depend_on_neither_order_nor_interruptions(reference, tmp_path):
    assert do(sweep(), tmp_path / "backwards", backwards).digest == reference[1]
    for count in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            do(sweep(), tmp_path / "stopped", interrupted_after(count))
    computed = []
    assert do(sweep(), tmp_path / "stopped", counting(local(1), computed)).digest == reference[1]
    assert len(computed) == 8 - 5


@pytest.mark.full
def test_bits_do_not_depend_on_workers(reference, tmp_path):
    assert do(sweep(), tmp_path / "two", local(2)).digest == reference[1]


def test_every_flipped_byte_is_found_named_and_computed_again(reference, tmp_path, pytestconfig):
    out = tmp_path / "out"
    do(sweep(), out)
    draw = np.random.default_rng(0)
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    for flip in range(1000 if pytestconfig.getoption("--full") else 60):
        path = paths[flip % len(paths)]
        whole = path.read_bytes()
        at = int(draw.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << int(draw.integers(8)))]) + whole[at + 1 :])
        wrong = verify(out)[1]
        assert any(path.name in name for name in wrong), (path, at, wrong)
        if flip < 8 and "sums" not in path.name.lower():
            found = do(sweep(), out)
            assert found.digest == reference[1]
            assert bool(found.damaged) == (path.parent.name == "shards" or path.name == "journal")
            assert verify(out)[1] == {}
        else:
            path.write_bytes(whole)


def test_a_lost_shard_and_a_lost_line_are_named(reference, tmp_path):
    do(sweep(), tmp_path)
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join(lines[:-1]))
    assert list(verify(tmp_path)[1].values()) == ["not in the journal"]
    shard = next((tmp_path / "shards").iterdir())
    (tmp_path / "journal").write_bytes(b"".join(lines))
    shard.unlink()
    assert verify(tmp_path)[1] == {f"shards/{shard.name}": "missing"}
    assert do(sweep(), tmp_path).digest == reference[1]


def test_a_point_that_fails_is_named_and_does_not_sink_the_rest(tmp_path):
    chosen = sweep(grid={"eta": [1e-3, 50.0]})
    found = do(chosen, tmp_path)
    assert len(found.failures) == 2
    settings, error = found.failures[0]
    assert settings["eta"] == 50.0
    assert "exceeds the mean-square stability limit" in error
    with xarray.open_dataset(tmp_path / "sweep.nc", engine="h5netcdf") as data:
        assert np.all(np.isfinite(data["rho"].sel(eta=1e-3)))
        assert np.all(np.isnan(data["rho"].sel(eta=50.0)))
        assert "stability" in str(data["error"].sel(eta=50.0).values[0])
    assert len(json.loads((tmp_path / "summary.json").read_text())["failures"]) == 2
    computed = []
    do(chosen, tmp_path, counting(local(1), computed))
    assert computed == []  # the rule that refused them refuses them again


def test_a_shard_whose_worker_died_is_tried_again_at_the_next_call(reference, tmp_path):
    def dying(tasks):
        yield from ((i, Lost() if i == 2 else compute(task)) for i, task in enumerate(tasks))

    found = do(sweep(), tmp_path, dying)
    assert [error for _, error in found.failures] == ["its worker died, again and again (out of memory?)"]
    assert do(sweep(), tmp_path).digest == reference[1]


def test_a_worker_with_other_versions_is_refused(tmp_path):
    def foreign(tasks):
        result = json.loads(compute(tasks[0]))
        result["versions"]["libraries"]["numpy"] = "1.0"
        yield 0, json.dumps(result)

    with pytest.raises(InputError, match=r"versions of a worker = .* install the same on all workers"):
        do(sweep(), tmp_path, foreign)


def test_another_sweep_in_the_folder_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        do(sweep(), tmp_path, interrupted_after(1))
    with pytest.raises(InputError, match=r"holds the work of a run that differs in sweep; choose another folder"):
        do(sweep(block=2), tmp_path)
    (tmp_path / "journal").write_bytes(b"x" + (tmp_path / "journal").read_bytes())
    do(sweep(), tmp_path)


def test_a_data_file_that_changed_makes_other_shards(tmp_path):
    draw = np.random.default_rng(0)
    path, keys = tmp_path / "mine.npz", []
    for _ in range(2):
        np.savez(path, X=draw.standard_normal((4, 9)), w_star=draw.standard_normal(9))
        chosen = sweep(fixed={**CONFIG["fixed"], "data": str(path)})
        keys.append([shard.key for point in shards(chosen) for shard in point])
    assert not set(keys[0]) & set(keys[1])


def test_late_decay_is_swept_by_branch(tmp_path):
    fixed = {**CONFIG["fixed"], "steps": 2000}
    do(sweep(job="late-decay", fixed=fixed, random={}, grid={"decay_factor": [5.0, 10.0]}), tmp_path)
    with xarray.open_dataset(tmp_path / "sweep.nc", engine="h5netcdf") as data:
        assert data["final_test_loss"].dims == ("decay_factor", "branch")
        assert np.all(np.isfinite(data["final_test_loss_sem"]))
        assert np.all(data["decay_step"].diff("branch") > 0)


def test_any_dynamics_and_sampling_is_swept_and_blocks_join_to_the_run_of_all_replicas(tmp_path):
    chosen = sweep(**SIMULATED)
    assert [len(blocks) for blocks in shards(chosen)] == [2, 2, 2, 2, 1, 1]  # slow-law: nothing is random
    digest = do(chosen, tmp_path / "one").digest
    assert do(chosen, tmp_path / "backwards", backwards).digest == digest
    point = chosen.points[1]
    whole = simulate_found.compute(make_scene(point, point.choice), lambda _: None, lambda _: None)
    with xarray.open_dataset(tmp_path / "one/sweep.nc", engine="h5netcdf") as data:
        found = data.sel(dynamics="sgd", sampling="shuffle")
        mean, sem = mean_and_sem(whole.curves["rho_slow"].values[-1])
        assert (float(found["rho"]), float(found["rho_sem"])) == (mean, sem)
        assert float(found["rho_prediction"]) == whole.prediction.rho.values[-1]
        assert np.all(np.isfinite(data["fluctuation"]))
        assert np.all(data["rho_sem"].sel(dynamics="slow-law") == 0)
        assert np.all(np.isfinite(data["rho_prediction"]))


def test_partial_results_are_read_while_a_sweep_is_not_done(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        do(sweep(), tmp_path, interrupted_after(3))
    text = status_text(tmp_path)
    assert "3 of 8 shards, 0 failed; not running" in text
    assert re.search(r"left: about \d+ s of processor time", text)
    assert "not all blocks computed yet" in text
    assert "not computed yet" in text
    with pytest.raises(InputError, match="holds no sweep"):
        status_text(tmp_path / "elsewhere")
