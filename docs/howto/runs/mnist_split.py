"""Split MNIST's published 10 000 test images into files for the loader: 6000 to train on, 4000 held out.

python docs/howto/runs/mnist_split.py FOLDER OUT; FOLDER holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np


def split(source: Path, out: Path) -> None:
    """Write the four IDX files."""
    images = np.frombuffer(gzip.decompress((source / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((source / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(10000)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", order[:6000]), ("t10k", order[6000:])):
        pixels = images.reshape(-1, 28, 28)[rows].tobytes()
        header = struct.pack(">4i", 2051, len(rows), 28, 28)
        (out / f"{name}-images-idx3-ubyte").write_bytes(header + pixels)
        (out / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(rows)) + labels[rows].tobytes())


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
