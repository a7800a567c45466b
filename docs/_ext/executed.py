"""The directive `executed`: Python that runs when the page is built, its code and what it printed or drew."""

import contextlib
import hashlib
import io
import traceback
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive


class Executed(Directive):
    """Code blocks of one page share their names; an exception fails the build."""

    has_content = True
    namespaces: dict[str, dict[str, Any]] = {}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The code, its output, and the figure it left in `figure`."""
        document = self.state.document.settings.env.docname
        code = "\n".join(self.content)
        space = self.namespaces.setdefault(document, {"__name__": "__page__"})
        source = nodes.literal_block(code, code, language="python")
        try:
            printed = execute(code, space)
        except Exception:
            raise self.error(f"{document}: the code block failed:\n{traceback.format_exc()}") from None
        found: list[nodes.Node] = [source]
        if printed:
            found.append(nodes.literal_block(printed, printed, language="text"))
        if "figure" in space:
            found.append(self.picture(document, code, space))
        return found

    def picture(self, document: str, code: str, space: dict[str, Any]) -> nodes.Node:
        """An image node for the figure, whose alternative text is in `alt`."""
        folder = Path(self.state.document.settings.env.srcdir) / "_generated" / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        mark = hashlib.sha256(code.encode()).hexdigest()[:12]
        name = f"{document.replace('/', '-')}-{mark}.svg"
        space.pop("figure").savefig(folder / name, metadata={"Date": None})
        return nodes.image(uri=f"/_generated/pictures/{name}", alt=space.pop("alt"), classes=["executed"])


def execute(code: str, space: dict[str, Any]) -> str:
    """Run the code in the namespace; what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<page>", "exec"), space)
    return out.getvalue().rstrip()


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("executed", Executed)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
