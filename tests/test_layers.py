"""Imports go one way, simulators and laws do not know each other, and no text of a user's is ever executed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("theory", "numerics", "verify", "paper_figs")

LAWS = {f"{layer}.{stem}" for layer in ("theory", "numerics") for stem in ("slow_law", "scalar_law", "noise_floor")}
LAWS |= {f"theory.{stem}" for stem in ("selection", "sampling", "momentum", "momentum_epochs")}
LAWS |= {"numerics.networks.law", "numerics.noise_laws", "numerics.predictions"}
LAWS |= {f"numerics.{stem}" for stem in ("moments", "ray_law", "manifold_law", "epoch_law", "momentum_law", "sde_law")}
LAWS |= {"numerics.radial_manifold"}
SIMULATORS = {"numerics.sgd", "numerics.dynamics", "numerics.kernels", "numerics.networks.train", "numerics.device"}

# These run the package's own generated text; nothing else may.
GENERATORS = {"theory.lower", "numerics.specialise"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
# These could unpickle a file: forbidden, or told not to where the call stands.
FORBIDDEN_READERS = {"joblib.load", "pandas.read_pickle", "pd.read_pickle", "torch.jit.load", "np.fromregex"}
TOLD = {"np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}
# The only ones that hand objects to other processes of ours; those libraries pickle on the way (docs/howto/cluster.md).
TRANSPORTS = {"joblib", "distributed", "dask", "submitit", "multiprocessing"}
MAY_TRANSPORT = {
    "numerics.sweep.engines",
    "numerics.sweep.slurm_queue",
    "numerics.workers",
    "paper_figs.cli",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "parse_expr", "execfile"}

Sources = dict[str, str]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> Sources:
    files = (path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")))
    return {module_name(path): path.read_text(encoding="utf-8") for path in files}


def imports(module: str, text: str) -> Iterator[str]:
    """Every module that the text may import; ``from a import b`` may mean a and a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], base]).rstrip(".")
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)


def reachable(module: str, tree: Sources) -> set[str]:
    """The modules of ours that importing ``module`` loads, itself included."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in tree and name not in found:
            found.add(name)
            waiting.extend(imports(name, tree[name]))
    return found


def within(module: str, family: set[str]) -> bool:
    return any(module == member or module.startswith(member + ".") for member in family)


def upward(tree: Sources) -> list[str]:
    """Imports from a layer into a higher one, or into the tests."""
    wrong = []
    for module, text in tree.items():
        higher = {*LAYERS[LAYERS.index(module.split(".")[0]) + 1 :], "tests"}
        wrong += [f"{module} -> {name}" for name in imports(module, text) if name.split(".")[0] in higher]
    return wrong


def crossings(tree: Sources, origin: set[str], target: set[str]) -> list[str]:
    """Modules of one family that load one of the other, directly or through others."""
    return [
        f"{module} -> {name}"
        for module in tree
        if within(module, origin)
        for name in sorted(reachable(module, tree))
        if within(name, target)
    ]


def executions(tree: Sources) -> list[str]:
    """Places where text or a file could be run as code."""
    wrong = []
    for module, text in tree.items():
        wrong += [f"{module}: {name}" for name in imports(module, text) if name.split(".")[0] in FORBIDDEN_MODULES]
        if module not in MAY_TRANSPORT:
            wrong += [f"{module}: {name}" for name in imports(module, text) if name.split(".")[0] in TRANSPORTS]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                wrong += [f"{module}:{node.lineno} {why}" for why in dangerous(node, module in GENERATORS)]
    return wrong


def dangerous(call: ast.Call, generator: bool) -> Iterator[str]:
    name = getattr(call.func, "id", None)
    if (name in FORBIDDEN_CALLS or getattr(call.func, "attr", None) == "parse_expr") and not generator:
        yield f"{name or 'parse_expr'}()"
    if getattr(call.func, "attr", None) in ("exec_module", "spec_from_file_location") and not generator:
        yield "a file run as a module"
    yield from unpickling(call)
    for option in call.keywords:
        allowed = isinstance(option.value, ast.Constant) and option.value.value is False
        if option.arg == "allow_pickle" and not allowed:
            yield "allow_pickle"
        if option.arg == "weights_only" and allowed:
            yield "weights_only=False"


def unpickling(call: ast.Call) -> Iterator[str]:
    """Readers that are forbidden, or not told in the call itself to read plain data only."""
    reader = ast.unparse(call.func)
    if reader in FORBIDDEN_READERS:
        yield reader
    if reader in TOLD:
        option, value = TOLD[reader]
        given = [word.value for word in call.keywords if word.arg == option]
        if not (given and isinstance(given[0], ast.Constant) and given[0].value is value):
            yield f"{reader} without {option}={value}"


def test_layers_are_there():
    assert {module.split(".")[0] for module in sources()} >= {"theory", "numerics"}
    assert {"numerics.problem", "numerics.start"} <= reachable("numerics.data", sources())


def test_imports_go_one_way():
    assert upward(sources()) == []


def test_simulators_never_load_a_law():
    assert crossings(sources(), SIMULATORS, LAWS) == []


def test_laws_never_load_a_simulator():
    assert crossings(sources(), LAWS, SIMULATORS) == []


def test_nothing_runs_text_or_files_as_code():
    assert executions(sources()) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("theory.a", "import numerics.sgd"),
        ("theory.a", "def f():\n    from numerics import sgd"),
        ("numerics.a", "from verify.test_slow_law import x"),
        ("numerics.run.a", "from ...verify import x"),
        ("verify.a", "import paper_figs"),
        ("numerics.a", "from tests import naive"),
    ],
)
def test_an_import_upward_is_noticed(module, text):
    assert upward({module: text})


def test_an_import_downward_is_left_alone():
    tree = {
        "paper_figs.a": "import verify.b, numerics",
        "verify.a": "from numerics import sgd",
        "numerics.a": "import theory",
    }
    assert upward(tree) == []


def test_a_law_behind_two_imports_is_noticed():
    tree = {
        "numerics.kernels.radial": "from numerics import helper",
        "numerics.helper": "from theory import other",
        "theory.other": "from .slow_law import drift",
        "theory.slow_law": "",
    }
    assert crossings(tree, SIMULATORS, LAWS) == ["numerics.kernels.radial -> theory.slow_law"]


def test_a_simulator_behind_a_law_is_noticed():
    tree = {"numerics.scalar_law": "import numerics.sgd", "numerics.sgd": ""}
    assert crossings(tree, LAWS, SIMULATORS) == ["numerics.scalar_law -> numerics.sgd"]


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "sympy.parsing.sympy_parser.parse_expr(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.load(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=flag)",
        "joblib.load(path)",
        "import joblib",
        "from submitit import AutoExecutor",
        "spec.loader.exec_module(module)",
        "torch.load(path, weights_only=False)",
    ],
)
def test_running_text_or_files_is_noticed(text):
    assert executions({"numerics.a": text})


def test_generated_text_may_run_where_it_is_generated_and_only_there():
    assert executions({"theory.lower": "exec(compile(text, '', 'exec'))", "numerics.a": "re.compile(x)"}) == []
    assert executions({"theory.lower": "np.load(path, allow_pickle=True)"})


def test_what_workers_exchange_is_text():
    from numerics.sweep import shards

    assert shards.compute.__annotations__ == {"task": str, "return": str}
