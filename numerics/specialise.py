"""A kernel template and a parametrization's formulas become one compiled module, kept on disk between runs.

numba cannot cache a kernel that takes functions as arguments, so the formulas that `theory.lower` writes are put into
the template's text. The result is a Python file that can be read, named by the hash of everything that it depends on.

A template that any parametrization may have imports `predict` and `pull` of one of them inside its formulas block:
what is imported there, here those of the parametrization, is put into its text after the formulas.
"""

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numba
import sympy

from numerics.files import write_bytes
from theory import lower, notation
from theory.parametrization import DiagonalNetwork, Parametrization, Radial
from theory.writers import IMPORTS, Dialect

_HERE = Path(__file__).parent
_SHARED = (
    "streams.py",
    *(f"kernels/{name}.py" for name in ("lanes", "linear", "rows", "single")),
)  # imported by templates
_FORMULAS = re.compile(r"# BEGIN FORMULAS.*# END FORMULAS\n", re.DOTALL)
_IMPORTS = re.compile(r"^from numerics.*\n", re.MULTILINE)
_IMPORTED = re.compile(r"^from numerics\.kernels\.(\w+) import", re.MULTILINE)
_NAMES = {"value": "value", "slope_u": "slope_a", "curvature_uu": "curvature_aa"}


@dataclass(frozen=True)
class Target:
    """A compiler: where its templates lie, what stands before each formula, the dialect, imports to be added."""

    folder: str
    decorator: str
    dialect: Dialect
    header: str = ""


# sympy's order of factors is no promise, so the compiler may choose its own and hoist constants (which takes nsz too).
_NJIT = '@njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})\n'
NUMBA = Target("kernels", _NJIT, "math", header="import math\n\n")
TRITON = Target("device/kernels", "@triton.jit\n", "tl")


def cache_folder() -> Path:
    """Where compiled modules are kept: $LATEDECAY_CACHE, else the user's cache folder, else a temporary one."""
    home = os.environ.get("LATEDECAY_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "latedecay"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"latedecay-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def specialise(template: str, parametrization: Parametrization, target: Target = NUMBA) -> ModuleType:
    """The module <target.folder>/<template>.py with the formulas of this parametrization."""
    text = _specialised_text(template, parametrization, target)
    name = f"latedecay_{template}_{_fingerprint(text)}"
    path = cache_folder() / f"{name}.py"
    if not path.exists() or path.read_text() != text:
        write_bytes(path, text.encode())
    return _load(name, path)


def _specialised_text(template: str, parametrization: Parametrization, target: Target) -> str:
    source = (_HERE / target.folder / f"{template}.py").read_text()
    formulas = re.sub(r"^def ", target.decorator + "def ", _kept(parametrization, target.dialect), flags=re.MULTILINE)
    text, count = _FORMULAS.subn(lambda block: formulas + "\n" + _imported(block[0], parametrization), source)
    if count != 1:
        raise RuntimeError(f"kernel template {template} has no formulas block")
    return text.replace("import numpy as np\n", target.header + "import numpy as np\n", 1)


def _imported(block: str, parametrization: Parametrization) -> str:
    """What stands below the formulas of the templates that a formulas block imports from, with their own imports."""
    found: dict[str, str] = {}
    _collect(block, isinstance(parametrization, Radial), found)
    return "".join(found.values())


def _collect(block: str, radial: bool, found: dict[str, str]) -> None:
    """Each template once, after those that it needs itself."""
    for name in _IMPORTED.findall(block):
        name = "map_separable" if name == "map_radial" and not radial else name
        source = (_HERE / "kernels" / f"{name}.py").read_text()
        above, below = _FORMULAS.split(source)
        _collect(source[len(above) : len(source) - len(below)], radial, found)
        found[name] = "\n".join(match[0] for match in _IMPORTS.finditer(above)) + below


def _kept(parametrization: Parametrization, dialect: Dialect) -> str:
    """The lowered text, kept on disk: working it out takes longer than loading the compiled kernel."""
    theory = sorted(Path(lower.__file__).parent.glob("*.py"))
    expressions = [sympy.srepr(part) for part in vars(parametrization).values() if isinstance(part, sympy.Basic)]
    parts = [type(parametrization).__name__, *expressions, str(dialect), sympy.__version__]
    parts += [path.read_text() for path in (*theory, Path(__file__))]
    path = cache_folder() / f"formulas_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.txt"
    if path.exists():
        return path.read_text()
    text = lower.source(step_formulas(parametrization), dialect).replace(IMPORTS[dialect], "")
    write_bytes(path, text.encode())
    return text


def step_formulas(parametrization: Parametrization) -> lower.Functions:
    """The lowered functions under the names and arguments that the templates use."""
    functions = lower.functions(parametrization)
    if isinstance(parametrization, Radial):
        return {name: functions[name] for name in ("gain", "gain_slope")}
    if isinstance(parametrization, DiagonalNetwork):
        return functions
    return _as_two_factors(functions)


def _as_two_factors(functions: lower.Functions) -> lower.Functions:
    """One factor u under the names of two, a = u and b ignored."""
    pair = (notation.a, notation.b)
    renamed = {
        _NAMES[name]: (pair, expression.subs(notation.u, notation.a)) for name, (_, expression) in functions.items()
    }
    zero = (pair, sympy.S.Zero)
    return {**renamed, "slope_b": zero, "curvature_ab": zero, "curvature_bb": zero}


def _fingerprint(text: str) -> str:
    """Of all that the machine code depends on; numba itself only looks at the one file's age."""
    parts = [text, numba.__version__, *((_HERE / name).read_text() for name in _SHARED)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba pickles a function by its module's name
    spec.loader.exec_module(module)
    return module
