"""The peak of a command's own process against what the command predicted."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GIB = 2**30
#: peak of the process over the prediction, at least and at most
BOUNDS = (0.75, 1.1)


def peaks(words, out):
    """Measured and predicted bytes of a command, run in a process of its own."""
    code = (  # ru_maxrss would count the tests' own process, as it was when this one was started
        "import sys; from pathlib import Path; from numerics.run.cli import execute; execute(sys.argv[1:]);"
        "print('peak', Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split(), "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = int(re.search(r"peak (\d+)", done.stdout)[1]) * 1024
    value, unit = re.search(r"memory: about ([\d.]+) (GiB|MiB) of", done.stdout).groups()
    return measured, float(value) * (GIB if unit == "GiB" else 2**20)


def assert_predicted(words, out):
    """The measured peak is the predicted one within bounds."""
    measured, predicted = peaks(words, out)
    print(f"{measured / 2**20:.0f} MiB, {measured / predicted:.2f} of the prediction: {words}")
    assert BOUNDS[0] < measured / predicted < BOUNDS[1], (measured / 2**20, predicted / 2**20)
