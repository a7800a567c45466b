"""MNIST and CIFAR read from the files their authors publish, as the user has them on disk; nothing is downloaded.

MNIST: IDX files (plain or ``.gz``) or ``mnist.npz``. CIFAR: the "binary version"; the "python version" is a pickle,
which runs whatever code it contains when it is loaded, so it is refused.
"""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import InputError

Part = tuple[NDArray[Any], NDArray[np.int64]]
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_PLACE = "published at http://yann.lecun.com/exdb/mnist and https://storage.googleapis.com/cvdf-datasets/mnist"
CIFAR_PLACE = "published at https://www.cs.toronto.edu/~kriz/cifar.html as the 'binary version'"
CIFAR_FILES = {
    10: (tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin", 1),
    100: (("train.bin",), "test.bin", 2),
}


def mnist(folder: Path | None) -> tuple[Part, Part]:
    """Training and test images ``(n, 1, 28, 28)`` in [0, 1] with their classes.

    Raises InputError naming the file that is missing or damaged, and where it is published.
    """
    found = mnist_files(folder)
    if len(found) == 1:
        return _mnist_npz(found[0])
    images, labels = [_idx(path, 3) for path in found[::2]], [_idx(path, 1) for path in found[1::2]]
    first, second = (_part(*pair, found[0].parent) for pair in zip(images, labels, strict=True))
    return first, second


def mnist_files(folder: Path | None) -> list[Path]:
    """mnist.npz, or the four IDX files. Raises InputError naming the one that is missing."""
    root = _folder(folder, f"{', '.join(MNIST_FILES)} (or mnist.npz)", MNIST_PLACE)
    if (root / "mnist.npz").exists():
        return [root / "mnist.npz"]
    return [_find(root, name, MNIST_PLACE) for name in MNIST_FILES]


def cifar(folder: Path | None, classes: int) -> tuple[Part, Part]:
    """Training and test images ``(n, 3, 32, 32)`` in [0, 1] with their (fine) classes; 10 or 100 ``classes``.

    Raises InputError naming the file that is missing or damaged, and where it is published.
    """
    label_bytes = CIFAR_FILES[classes][2]
    *parts, test = (_cifar_records(path, label_bytes) for path in cifar_files(folder, classes))
    joined = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    return joined, test


def cifar_files(folder: Path | None, classes: int) -> list[Path]:
    """The training files, and last the test file. Raises InputError naming the one that is missing."""
    train, test, _ = CIFAR_FILES[classes]
    root = _folder(folder, ", ".join((*train, test)), CIFAR_PLACE)
    inner = [path for path in sorted(root.glob("cifar-*-bin*")) if path.is_dir()]
    root = root if (root / test).exists() or not inner else inner[0]
    return [_find(root, name, CIFAR_PLACE) for name in (*train, test)]


def _folder(folder: Path | None, names: str, place: str) -> Path:
    if folder is None or not folder.is_dir():
        raise InputError("data folder", folder, "is not a folder", f"pass --data-folder holding {names}, {place}")
    return folder


def _find(root: Path, name: str, place: str) -> Path:
    for candidate in (root / name, root / f"{name}.gz", root / name.replace("-idx", ".idx")):
        if candidate.exists():
            return candidate
    raise InputError("data file", root / name, "does not exist", f"put {name} or {name}.gz there, {place}")


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise InputError("data file", path, f"cannot be read ({error})", "fetch the file again") from error


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file: magic ``00 00 08 ndim``, big-endian sizes, then bytes."""
    content = _bytes(path)
    sizes = np.frombuffer(content[4 : 4 + 4 * dimensions], dtype=">i4")
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) != 4 + 4 * dimensions + int(np.prod(sizes)):
        raise InputError("data file", path, f"is no whole IDX file of {dimensions} dimensions", "fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(sizes)


def _part(images: NDArray[Any], labels: NDArray[Any], where: Path) -> Part:
    if images.ndim != 3 or len(images) != len(labels):
        raise InputError("data", where, f"has images {images.shape} and {len(labels)} labels", "fetch them again")
    return images[:, None] / np.float32(255), labels.astype(np.int64)


def _mnist_npz(path: Path) -> tuple[Part, Part]:
    """The archive that Keras distributes: x_train, y_train, x_test, y_test."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = [archive[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("data file", path, f"is no whole mnist.npz ({error})", "fetch it again") from error
    return _part(arrays[0], arrays[1], path), _part(arrays[2], arrays[3], path)


def _cifar_records(path: Path, label_bytes: int) -> Part:
    """Records of ``label_bytes`` labels (the last is the fine one) and 3072 pixels, channel by channel."""
    content = np.frombuffer(_bytes(path), dtype=np.uint8)
    if content.size == 0 or content.size % (label_bytes + 3072):
        raise InputError(
            "data file", path, f"is no whole number of {label_bytes + 3072}-byte records", "fetch it again"
        )
    records = content.reshape(-1, label_bytes + 3072)
    images = records[:, label_bytes:].reshape(-1, 3, 32, 32) / np.float32(255)
    return images, records[:, label_bytes - 1].astype(np.int64)
