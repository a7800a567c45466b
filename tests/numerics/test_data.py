"""Named data against scikit-learn's own loaders, files against what was saved in them, and every refusal."""

import time

import numpy as np
import pytest
from sklearn import datasets

from numerics import data
from numerics.errors import InputError

DIGITS = datasets.load_digits()


def rows_in(table, rows):
    """Positions of ``rows`` among the distinct rows of ``table``."""
    places = {row.tobytes(): i for i, row in enumerate(table)}
    return [places[row.tobytes()] for row in rows]


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    ("target", "label"),
    [(None, lambda c: (-1.0) ** c), ("parity", lambda c: (-1.0) ** c), ("class", lambda c: (c - 4.5) / np.sqrt(8.25))],
)
def test_digits_are_scikit_learns_images_with_their_own_labels(target, label):
    problem = data.load("digits", n=20, seed=3, target=target)
    images = DIGITS.data / 16
    train, test = rows_in(images, problem.X), rows_in(images, problem.X_test)
    np.testing.assert_allclose(problem.y, label(DIGITS.target[train]), rtol=1e-14)
    np.testing.assert_allclose(problem.y_test, label(DIGITS.target[test]), rtol=1e-14)
    assert (problem.n, problem.d, len(test)) == (20, 64, 500)
    assert set(train).isdisjoint(test)
    assert len({*train, *test}) == 520
    assert problem.X.min() == 0
    assert problem.X.max() == 1


def test_diabetes_is_scikit_learns_table_standardised_and_lifted():
    raw = datasets.load_diabetes(scaled=False)
    columns = (raw.data - raw.data.mean(0)) / raw.data.std(0)
    labels = (raw.target - raw.target.mean()) / raw.target.std()
    plain = data.load("diabetes", n=5, seed=1, features=0)
    order = [int(np.argmin(np.abs(columns - row).sum(1))) for row in plain.X]
    np.testing.assert_allclose(plain.X, columns[order], rtol=1e-12)
    np.testing.assert_allclose(plain.y, labels[order], rtol=1e-12)
    assert len(plain.X_test) == 437
    assert [data.load("diabetes", n=n, seed=1).d for n in (5, 60)] == [200, 240]


def test_gaussian_has_a_teacher_of_norm_one():
    problem = data.load("gaussian", n=10, seed=0, features=4000)
    assert (problem.n, problem.d, problem.test_kind) == (10, 4000, "teacher")
    assert problem.norm_w_star == pytest.approx(1, rel=1e-14)
    assert np.array_equal(problem.y, problem.X @ problem.w_star)
    # 40 000 squares of standard normals: mean 1, sem sqrt(2/40000); 5 sem is passed by chance less than once in 10^6.
    assert abs(np.mean(problem.X**2) - 1) < 5 * np.sqrt(2 / 40_000)
    assert data.load("gaussian", n=10, seed=0).d == 40


@pytest.mark.parametrize("name", data.NAMES)
def test_the_seed_decides_every_bit(name):
    first, again, other = (data.load(name, n=6, seed=seed, features=50) for seed in (0, 0, 1))
    assert first.X.tobytes() == again.X.tobytes()
    assert first.y.tobytes() == again.y.tobytes()
    assert first.X.tobytes() != other.X.tobytes()


def test_corruption_touches_the_training_labels_only():
    clean, corrupted = (data.load("digits", n=60, seed=0, features=200, corruption=size) for size in (0.0, 0.5))
    assert np.array_equal(clean.X, corrupted.X)
    assert np.array_equal(clean.y_test, corrupted.y_test)
    # chi-squared with 60 degrees of freedom: 25 and 115 are passed by chance less than once in 10^5 each.
    assert 25 < np.sum(((corrupted.y - clean.y) / 0.5) ** 2) < 115


def test_random_features_approach_the_gaussian_kernel():
    points = gaussian(5, 3)
    count, bandwidth = 40_000, 1.7
    features = data.random_fourier_features(points, count, bandwidth, 0)
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    # Each of the 15 products is a mean of terms of variance <= 2; 6 sem is passed by chance less than once in 10^7.
    np.testing.assert_allclose(
        features @ features.T, np.exp(-squares / (2 * bandwidth**2)), atol=6 * np.sqrt(2 / count)
    )


def test_held_out_rows_share_the_features_of_the_training_rows(tmp_path):
    X, y = gaussian(40, 3), gaussian(40, seed=1)
    problem = data.load(save(tmp_path / "a.npz", X=X, y=y), n=10, seed=0, features=64)
    order = [int(np.flatnonzero(y == label)[0]) for label in [*problem.y, *problem.y_test]]
    bandwidth = data.median_distance(X[order[:10]])
    expected = data.random_fourier_features(X[order], 64, bandwidth, 0)
    np.testing.assert_allclose(np.concatenate([problem.X, problem.X_test]), expected, atol=1e-12)


def test_median_distance_is_the_median_over_pairs():
    points = gaussian(9, 4)
    pairs = [np.linalg.norm(points[i] - points[j]) for i in range(9) for j in range(i)]
    assert data.median_distance(points) == pytest.approx(np.median(pairs), rel=1e-10)
    assert data.median_distance(np.ones((3, 2))) == 1.0
    assert (
        data.load("digits", n=1, seed=0, features=32).n == 1
    )  # one row has no distances: the held-out rows lend theirs


def test_held_out_rows_are_fewer_where_columns_are_many(monkeypatch):
    monkeypatch.setattr(data, "MAX_HELD_OUT_ENTRIES", 3000)
    assert len(data.load("digits", n=5, seed=0, features=100).X_test) == 30


def test_a_file_keeps_its_rows_and_their_order(tmp_path):
    arrays = {"X": gaussian(4, 9), "y": gaussian(4), "w_star": gaussian(9), "u0": gaussian(18)}
    problem = data.load(str(save(tmp_path / "mine.npz", **arrays)), n=None, seed=0)
    assert all(np.array_equal(getattr(problem, name), array) for name, array in arrays.items())
    assert (problem.name, problem.test_kind) == ("mine", "teacher")


def test_a_file_with_a_teacher_needs_no_labels(tmp_path):
    X, w_star = gaussian(6, 9).astype(np.float32), gaussian(9)
    problem = data.load(save(tmp_path / "a.npz", X=X, w_star=w_star), n=4, seed=0)
    np.testing.assert_allclose(problem.y, problem.X @ w_star, rtol=1e-14)
    assert (problem.n, problem.test_kind) == (4, "teacher")


def test_a_file_with_its_own_test_rows_keeps_them(tmp_path):
    arrays = {"X": gaussian(6, 9), "y": gaussian(6), "X_test": gaussian(3, 9, seed=1), "y_test": gaussian(3)}
    problem = data.load(save(tmp_path / "a.npz", **arrays), n=4, seed=0)
    assert np.array_equal(problem.X_test, arrays["X_test"])
    assert problem.n == 4


def test_rows_left_over_in_a_file_are_held_out(tmp_path):
    X, y = gaussian(9, 8), gaussian(9)
    problem = data.load(save(tmp_path / "a.npz", X=X, y=y), n=4, seed=0)
    assert sorted([*problem.y, *problem.y_test]) == sorted(y)
    assert [y[i] for i in rows_in(X, problem.X)] == list(problem.y)
    assert data.load(tmp_path / "a.npz", n=4, seed=1).y.tolist() != problem.y.tolist()


CSV = "age, height ,price\n1,2.5,3e1\n\n4,5,6\n"


def test_a_csv_gives_its_target_column_as_labels(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeff" + CSV, encoding="utf-8")
    problem = data.load(tmp_path / "a.csv", n=None, seed=0, target="height", features=16)
    assert problem.y.tolist() == [2.5, 5.0]
    assert (problem.name, problem.units, problem.d) == ("a", "height", 16)


def test_digits_load_without_importing_scikit_learn_in_well_under_a_second():
    start = time.perf_counter()
    data.load("digits", n=20, seed=0)
    assert time.perf_counter() - start < 0.5  # 0.05 s on one idle core; the import alone takes 1 s


def refused(call, *arguments, **options):
    with pytest.raises(InputError) as refusal:
        call(*arguments, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


NAMED = [
    ("digit", {}, "data = digit is not known; did you mean digits?"),
    ("Gaussian", {}, "data = Gaussian is not known; did you mean gaussian?"),
    ("cifar", {}, "data = cifar is not known; choose digits, diabetes, gaussian, or a .npz or .csv file"),
    ("missing.npz", {}, "data = missing.npz is not a file; check the path"),
    ("missing.csv", {"target": "y"}, "data = missing.csv is not a file; check the path"),
    ("digits", {"n": 0}, "n = 0 is not a number of rows; give at least 1"),
    ("digits", {"n": None}, "n = None is no number of rows of digits; say how many to train on"),
    ("digits", {"n": 2000}, "n = 2000 exceeds the 1797 rows of digits; use fewer rows"),
    ("digits", {"n": 64}, "n = 64 is not below the d = 64 columns"),
    (
        "digits",
        {"n": 63},
        "is below its 63 rows (singular values under 1.5e-08 of the largest count as zero); use fewer rows",
    ),
    ("digits", {"target": "odd"}, "target = odd is not a target of digits; choose parity or class"),
    ("digits", {"features": -1}, "features = -1 is negative; give 0 for the columns as they are"),
    ("digits", {"seed": -1}, "seed = -1 is not a whole number"),
    ("diabetes", {"features": 0}, "n = 10 is not below the d = 10 columns"),
    ("gaussian", {"target": "y"}, "target = y has no meaning for gaussian; leave it out"),
    ("gaussian", {"corruption": -0.5}, "corruption = -0.5 is not a standard deviation; give 0 or a positive number"),
]


@pytest.mark.parametrize(("name", "options", "message"), NAMED, ids=[message[:40] for *_, message in NAMED])
def test_a_wrong_name_or_option_is_refused_in_one_line(name, options, message):
    assert message in refused(data.load, name, **({"n": 10, "seed": 0} | options))


X, Y = gaussian(5, 9), gaussian(5)
HOLE, TWICE = X.copy(), X.copy()
HOLE[3, 7], TWICE[4] = np.nan, X[1]

ARRAYS = [
    ({"x": X, "y": Y}, "holds no X but y; save X (n, d) in it"),
    ({"X": X}, "holds neither y nor w_star; save labels y (n,) or a teacher w_star (d,)"),
    ({"X": HOLE, "y": Y}, "X[3, 7] = nan is not a finite number; remove or fill it"),
    ({"X": TWICE, "y": Y}, "rank of X = 4 is below its 5 rows"),
    ({"X": X, "y": Y[:4]}, "shape of y = (4,) is not (5,); give one label per row of X"),
    ({"X": X, "w_star": Y}, "shape of w_star = (5,) is not (9,); give one weight per column of X"),
    ({"X": X[0], "y": Y}, "shape of X = (9,) is not that of a non-empty array with 2 axes"),
    ({"X": X, "y": np.array(["a"] * 5)}, "type of y = <U1 is not a real number type"),
    (
        {"X": X, "y": np.array([1, "a", None, 2, 3], dtype=object)},
        "holds Python objects or no arrays; save plain numbers",
    ),
    ({"X": X, "y": Y, "X_test": X}, "y_test = None is missing beside its other half"),
    ({"X": X, "y": Y, "X_test": X, "y_test": Y, "w_star": X[0]}, "test loss = both w_star and X_test is ambiguous"),
]


@pytest.mark.parametrize(("arrays", "message"), ARRAYS, ids=[message[:40] for _, message in ARRAYS])
def test_a_wrong_npz_is_refused_in_one_line(tmp_path, arrays, message):
    assert message in refused(data.load, save(tmp_path / "a.npz", **arrays), n=None, seed=0)


def test_features_of_a_file_with_a_teacher_are_refused(tmp_path):
    path = save(tmp_path / "a.npz", X=X, w_star=X[0])
    message = f"features = 20 has no meaning for the w_star or u0 in {path}; leave it out"
    assert refused(data.load, path, n=None, seed=0, features=20) == message


def zip_cut_short(path):
    save(path, X=X, y=Y)
    path.write_bytes(path.read_bytes()[:300])


BROKEN = {
    "empty.npz": (lambda p: p.touch(), "is empty; save it again"),
    "short.npz": (zip_cut_short, "is not a readable .npz file (File is not a zip file); save it with numpy.savez"),
    "text.npz": (lambda p: p.write_text("hello"), "holds Python objects or no arrays; save plain numbers"),
    "array.npz": (lambda p: p.write_bytes(npy_bytes()), "holds Python objects or no arrays; save plain numbers"),
    "text.txt": (lambda p: p.write_text("hello"), "is neither a .npz nor a .csv file; save it as one of them"),
    "folder.npz": (lambda p: p.mkdir(), "is not a file; check the path"),
}


def npy_bytes():
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, X)
    return stream.getvalue()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_line(tmp_path, name):
    spoil, message = BROKEN[name]
    spoil(tmp_path / name)
    assert message in refused(data.load, tmp_path / name, n=None, seed=0)


TABLES = [
    ("", "price", "is empty; save it again"),
    ("\n\n", "price", "columns = 0 of"),
    ("a;b;price\n1;2;3\n", "price", "are too few; separate columns by commas"),
    ("a,b,price\n", "price", "holds a header and no rows; add rows of numbers"),
    ("a,a,price\n1,2,3\n", "price", "column = a appears twice in"),
    ("a,b,price\n1,2,3\n", "prices", "target = prices is not a column of the .csv file; did you mean price?"),
    ("a,b,price\n1,2,3\n", "zzz", "target = zzz is not a column of the .csv file; choose one of a, b, price"),
    ("a,b,price\n1,2,3\n", None, "target = None names no column of the .csv file; choose one of a, b, price"),
    (
        "a,b,price\n1,2,3\n1,two,3\n",
        "price",
        "column b, row 3 = 'two' is not a finite number; fill it, or drop the row",
    ),
    ("a,b,price\n1,,3\n", "price", "column b, row 2 = '' is not a finite number"),
    ("a,b,price\n1,nan,3\n", "price", "column b, row 2 = 'nan' is not a finite number"),
    ("a,b,price\n1,2\n", "price", "fields in row 2 = 2 are not 3; complete the row"),
    ("a,b,price\n1,2,3\n4,5,6\n", "price", "n = 2 is not below the d = 2 columns"),
    ('a,b,price\n1,"2,3\n', "price", "is not readable as .csv text (unexpected end of data); save it as UTF-8 text"),
]


@pytest.mark.parametrize(("text", "target", "message"), TABLES, ids=[message[:40] for *_, message in TABLES])
def test_a_wrong_csv_is_refused_in_one_line(tmp_path, text, target, message):
    (tmp_path / "a.csv").write_text(text)
    assert message in refused(data.load, tmp_path / "a.csv", n=None, seed=0, target=target)


def test_a_csv_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "is not readable as .csv text ('utf-8' codec" in refused(
        data.load, tmp_path / "a.csv", n=None, seed=0, target="b"
    )


def test_missing_scikit_learn_is_said_plainly(monkeypatch):
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda _: None)
    message = "data = digits.csv.gz is not installed; pip install scikit-learn"
    assert refused(data.load, "digits", n=5, seed=0) == message
