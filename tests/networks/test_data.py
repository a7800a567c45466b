"""Data: splits, standardisation, and files as published, whole, damaged or missing."""

import gzip

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.networks import data
from numerics.networks.image_files import MNIST_FILES, cifar, mnist


def idx(array):
    """An IDX file's bytes."""
    return (
        bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">i4").tobytes() + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def mnist_arrays():
    source = np.random.default_rng(0)
    return [
        source.integers(0, 256, (40, 28, 28)),
        np.arange(40) % 10,
        source.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    ]


@pytest.fixture
def mnist_folder(tmp_path, mnist_arrays):
    for k, (name, array) in enumerate(zip(MNIST_FILES, mnist_arrays, strict=True)):
        if k % 2:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_mnist_files_plain_or_compressed_give_their_images(mnist_folder, mnist_arrays):
    (images, labels), (test_images, test_labels) = mnist(mnist_folder)
    np.testing.assert_allclose(images[:, 0] * 255, mnist_arrays[0], rtol=1e-6)
    np.testing.assert_array_equal(labels, mnist_arrays[1])
    np.testing.assert_allclose(test_images[:, 0] * 255, mnist_arrays[2], rtol=1e-6)
    np.testing.assert_array_equal(test_labels, mnist_arrays[3])


def test_the_files_that_were_read_are_named_for_a_rerun(mnist_folder):
    named = [path.name.removesuffix(".gz") for path in data.files_of("mnist", mnist_folder)]
    assert named == list(MNIST_FILES)
    assert data.files_of("digits", None) == []
    (mnist_folder / "mnist.npz").touch()
    assert data.files_of("mnist", mnist_folder) == [mnist_folder / "mnist.npz"]


def test_an_archive_of_mnist_gives_its_images(tmp_path, mnist_arrays):
    np.savez(tmp_path / "mnist.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), mnist_arrays, strict=True)))
    (images, _), (_, test_labels) = mnist(tmp_path)
    np.testing.assert_allclose(images[:, 0] * 255, mnist_arrays[0], rtol=1e-6)
    np.testing.assert_array_equal(test_labels, mnist_arrays[3])


def test_loading_mnist_holds_out_from_its_own_test_part(mnist_folder):
    found = data.load("mnist", n_train=20, n_test=15, seed=0, folder=mnist_folder)
    assert found.x.shape == (20, 1, 28, 28)
    assert found.x_test.shape == (15, 1, 28, 28)
    assert list(np.bincount(found.labels)) == [2] * 10


def test_a_missing_mnist_file_is_named_with_its_place(mnist_folder):
    (mnist_folder / MNIST_FILES[2]).unlink()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte does not exist; put t10k.*published at http"):
        mnist(mnist_folder)


def test_no_folder_says_which_files_are_needed():
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.*mnist.npz.*published at"):
        mnist(None)


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b"\0\0\x0d" + b[3:], lambda b: b""])
def test_a_damaged_mnist_file_is_named(mnist_folder, damage):
    path = mnist_folder / MNIST_FILES[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="train-images-idx3-ubyte is no whole IDX file"):
        mnist(mnist_folder)


def test_a_damaged_compressed_file_is_named(mnist_folder):
    path = mnist_folder / f"{MNIST_FILES[1]}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte.gz cannot be read"):
        mnist(mnist_folder)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_records_give_images_and_fine_labels(tmp_path, classes):
    source = np.random.default_rng(0)
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if classes == 10 else ["train.bin"]
    labels, pixels = {}, {}
    for name in (*names, "test_batch.bin" if classes == 10 else "test.bin"):
        labels[name] = source.integers(0, classes, 4)
        pixels[name] = source.integers(0, 256, (4, 3072))
        columns = [labels[name][:, None], pixels[name]]
        if classes == 100:
            columns.insert(0, np.zeros((4, 1), dtype=int))
        (tmp_path / name).write_bytes(np.concatenate(columns, axis=1).astype(np.uint8).tobytes())
    (images, found), (_, test_labels) = cifar(tmp_path, classes)
    np.testing.assert_array_equal(found, np.concatenate([labels[name] for name in names]))
    np.testing.assert_allclose(images.reshape(-1, 3072)[:4] * 255, pixels[names[0]], rtol=1e-6)
    np.testing.assert_array_equal(test_labels, list(labels.values())[-1])
    (tmp_path / names[0]).write_bytes(b"123")
    with pytest.raises(InputError, match="is no whole number of"):
        cifar(tmp_path, classes)


def test_the_pickled_cifar_is_not_looked_at(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n")
    with pytest.raises(InputError, match=r"data_batch_1\.bin does not exist.*binary version"):
        cifar(tmp_path, 10)


def test_digits_are_split_into_disjoint_balanced_standard_parts():
    found = data.load("digits", n_train=200, n_test=1597, seed=3)
    assert list(np.bincount(found.labels)) == [20] * 10
    assert len(found.x_test) == 1597
    rows = {row.tobytes() for row in np.concatenate([found.x, found.x_test]).round(9)}
    assert len(rows) == 1797
    np.testing.assert_allclose(found.x.mean(axis=0), 0, atol=1e-12)
    assert found.x.std() == pytest.approx(1)


def test_the_split_depends_on_the_seed_alone():
    first, again, other = (data.load("digits", n_train=30, n_test=10, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)


def test_parity_has_one_target_of_each_sign():
    found = data.digit_parity(n_train=30, components=20, seed=0)
    assert found.x.shape == (30, 20)
    assert set(found.targets(found.labels).ravel()) == {-1.0, 1.0}


def test_mnist1d_is_its_own_generator_and_leaves_the_global_state_alone():
    pytest.importorskip("mnist1d")
    np.random.seed(5)  # noqa: NPY002
    before = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    signals, labels = data.mnist1d()
    assert np.random.random() == before  # noqa: NPY002
    assert signals.shape == (5000, 1, 40)
    assert list(np.bincount(labels)) == [500] * 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "imagenet"}, "data = imagenet is not known; choose one of digits"),
        ({"n_train": 1798}, "n_train = 1798 must lie between 1 and the 1797"),
        ({"n_train": 0}, "n_train = 0"),
    ],
)
def test_bad_requests_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        data.load(**({"source": "digits", "n_train": 10, "n_test": 10, "seed": 0} | change))


def test_bad_arrays_are_refused():
    x, labels = np.zeros((3, 2)), np.array([0, 1, 0])
    with pytest.raises(InputError, match="held-out input shape"):
        data.Examples(x, labels, np.zeros((3, 5)), labels, 2)
    with pytest.raises(InputError, match="x rows = 3 must equal the 2 labels"):
        data.Examples(x, labels[:2], x, labels, 2)
    with pytest.raises(InputError, match="x label = 1 is not a class number from 0 to 0"):
        data.Examples(x, labels, x, labels, 1)
    with pytest.raises(InputError, match="x_test row = 1 is not finite"):
        data.Examples(x, labels, np.array([[0, 0], [np.nan, 0], [0, 0]]), labels, 2)
    with pytest.raises(InputError, match="says all examples are equal"):
        data.standardised(np.ones((3, 2)), labels, x, labels, 2)
    with pytest.raises(InputError, match="components = 65"):
        data.digit_parity(n_train=10, components=65, seed=0)
