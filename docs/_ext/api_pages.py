"""The API reference: public names of every module with signature and docstring, as the sources have them."""

import ast
from pathlib import Path

from figure_pages import escaped

ROOT = Path(__file__).parents[2]
LAYERS = ("theory", "numerics", "verify", "paper_figs")
Node = ast.FunctionDef | ast.ClassDef


def pages() -> dict[str, str]:
    """A page per module, read from the sources: nothing is imported."""
    modules = {name: path for layer in LAYERS for name, path in layer_modules(layer)}
    found = {f"api/{name}.md": page(name, path) for name, path in modules.items()}
    return {**found, "api.md": overview(modules)}


def layer_modules(layer: str) -> list[tuple[str, Path]]:
    """Modules of a layer, tests and private ones left out."""
    paths = sorted((ROOT / layer).rglob("*.py"))
    named = [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in paths]
    return [
        (n, p)
        for n, p in named
        if not p.name.startswith(("__", "test_")) and ast.get_docstring(ast.parse(p.read_text()))
    ]


def page(name: str, path: Path) -> str:
    """Docstring, then every public class and function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = [f"# {name}".replace("_", "\\_"), prose(tree)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            parts += entry(node)
    return "\n\n".join(parts) + "\n"


def entry(node: Node, owner: str = "") -> list[str]:
    """One name, and a class's public methods below it."""
    title = f"{'###' if owner else '##'} {owner}{node.name}".replace("_", "\\_")
    kind = "class" if isinstance(node, ast.ClassDef) else "def"
    parts = [title, f"```python\n{kind} {node.name}{signature(node)}\n```", prose(node)]
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
                parts += entry(child, f"{node.name}.")
    return parts


def signature(node: Node) -> str:
    """Arguments and return type; for a dataclass its fields."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"({ast.unparse(node.args)}){returns}"
    fields = [ast.unparse(child) for child in node.body if isinstance(child, ast.AnnAssign)]
    return f"({', '.join(fields)})" if fields else ""


def prose(node: Node | ast.Module) -> str:
    """The docstring: paragraphs flowed, lists and indented formulas kept as they are."""
    return "\n\n".join(paragraph(text) for text in (ast.get_docstring(node) or "").split("\n\n"))


def paragraph(text: str) -> str:
    """Indented text is a formula; a list stays a list."""
    if text.startswith("    "):
        return f"```text\n{text}\n```"
    if text.startswith("- "):
        return "\n".join(f"- {escaped(' '.join(item.split()))}" for item in text[2:].split("\n- "))
    return escaped(" ".join(text.split()))


def overview(modules: dict[str, Path]) -> str:
    """Modules with the first lines of their docstrings."""
    parts = [
        "# API reference",
        'Read from the sources. An arrow means "may import": theory ← numerics ← verify ← paper_figs.'.replace(
            "_", "\\_"
        ),
    ]
    for layer in LAYERS:
        rows = ["| module | |", "| --- | --- |"]
        for name, path in modules.items():
            if name.split(".")[0] == layer:
                first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
                shown = name.replace("_", "\\_")
                rows.append(f"| [{shown}](api/{name}.md) | {escaped(first)} |")
        parts += [f"## {layer}".replace("_", "\\_"), "\n".join(rows)]
    tree = "```{toctree}\n:hidden:\n\n" + "\n".join(f"api/{name}" for name in modules) + "\n```"
    return "\n\n".join([*parts, tree]) + "\n"
