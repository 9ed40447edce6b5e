"""Copy the browser libraries to static/vendor and build the icon sprite.

``static/icons.txt`` lists the icons that the pages use, one Lucide name a line; a page shows one
with ``<svg class="icon"><use href="/static/vendor/icons.svg#play"></use></svg>``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENDOR = PROJECT / "static" / "vendor"
FILES = {
    "socket.io-client/dist/socket.io.esm.min.js": "socket.io.esm.min.js",
    "uplot/dist/uPlot.iife.min.js": "uPlot.esm.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "markdown-it/dist/browser/markdown-it.umd.min.js": "markdown-it.esm.js",
    "dompurify/dist/purify.min.js": "purify.esm.js",
    "socket.io-client/LICENSE": "socket.io-client.LICENSE",
    "uplot/LICENSE": "uplot.LICENSE",
    "markdown-it/LICENSE": "markdown-it.LICENSE",
    "dompurify/LICENSE": "dompurify.LICENSE",
    "lucide-static/LICENSE": "lucide.LICENSE",
    "@codemirror/view/LICENSE": "codemirror.LICENSE",
    "@lezer/common/LICENSE": "lezer.LICENSE",
    "@marijn/find-cluster-break/LICENSE": "find-cluster-break.LICENSE",
    "crelt/LICENSE": "crelt.LICENSE",
    "style-mod/LICENSE": "style-mod.LICENSE",
    "w3c-keyname/LICENSE": "w3c-keyname.LICENSE",
}
EDITOR = {
    "@codemirror/commands": ("dist/index.js", "commands.js"),
    "@codemirror/language": ("dist/index.js", "language.js"),
    "@codemirror/legacy-modes": ("mode/python.js", "python.js"),
    "@codemirror/state": ("dist/index.js", "state.js"),
    "@codemirror/streamparser": ("dist/index.js", "streamparser.js"),
    "@codemirror/view": ("dist/index.js", "view.js"),
    "@lezer/common": ("dist/index.js", "lezer-common.js"),
    "@lezer/highlight": ("dist/index.js", "highlight.js"),
    "@marijn/find-cluster-break": ("src/index.js", "find-cluster-break.js"),
    "crelt": ("index.js", "crelt.js"),
    "style-mod": ("src/style-mod.js", "style-mod.js"),
    "w3c-keyname": ("index.js", "w3c-keyname.js"),
}
"""CodeMirror's modules by package: the file to take, and its name in static/vendor/codemirror."""
IMPORT = re.compile(r"""^((?:import|export)\b[^'";]*\bfrom )(['"])([^'"]+)\2""", re.MULTILINE)
EXPORTS = {
    # Each ships its module unminified or larger; the same code as a script leaves one global name.
    "uPlot.esm.js": "uPlot",
    "markdown-it.esm.js": "globalThis.markdownit",
    "purify.esm.js": "globalThis.DOMPurify",
}
"""Scripts that become modules, with what each exports."""
SYMBOL = (
    '<symbol id="{name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round">{shapes}</symbol>'
)


def main(modules: Path) -> None:
    """Fill static/vendor from ``modules``, a node_modules folder."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    for source, name in FILES.items():
        text = (modules / source).read_text(encoding="utf-8")
        if name in EXPORTS:
            text += f"\nexport default {EXPORTS[name]};\n"
        # The source map is not copied, and a browser's tools would ask the server for it in vain.
        (VENDOR / name).write_text(re.sub(r"//# sourceMappingURL=.*", "", text), encoding="utf-8")
    (VENDOR / "codemirror").mkdir(exist_ok=True)
    for package, (source, name) in EDITOR.items():
        text = (modules / package / source).read_text(encoding="utf-8")
        (VENDOR / "codemirror" / name).write_text(module(text), encoding="utf-8")
    names = [line.strip() for line in (PROJECT / "static" / "icons.txt").read_text().splitlines() if line.strip()]
    (VENDOR / "icons.svg").write_text(sprite(modules / "lucide-static" / "icons", names), encoding="utf-8")
    print(f"{VENDOR}: {len(FILES) + len(EDITOR)} files and {len(names)} icons")


def module(text: str) -> str:
    """One of CodeMirror's modules as a browser loads it without a bundler.

    Imports by package name become relative paths, because the pages' content security policy allows no inline import
    map. Comments that have their lines to themselves and indentation go: half of the files is documentation.

    Raises:
        SystemExit: It imports a package that is not in :data:`EDITOR`.
    """

    def relative(match: re.Match[str]) -> str:
        if match[3] not in EDITOR:
            raise SystemExit(f"A module of CodeMirror imports '{match[3]}'. Add it to EDITOR in scripts/vendor.py.")
        return f"{match[1]}'./{EDITOR[match[3]][1]}'"

    text = re.sub(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^[ \t]*(//.*)?\n", "", text, flags=re.MULTILINE)
    return IMPORT.sub(relative, re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE))


def sprite(icons: Path, names: list[str]) -> str:
    """One SVG document with a symbol for each icon.

    Raises:
        SystemExit: The set has no icon of one of the names.
    """
    symbols = []
    for name in sorted(set(names)):
        file = icons / f"{name}.svg"
        if not file.is_file():
            raise SystemExit(f"static/icons.txt names '{name}', which is not in the pinned icon set. Correct the name.")
        body = re.search(r"<svg[^>]*>(.*)</svg>", file.read_text(encoding="utf-8"), re.DOTALL)
        shapes = re.sub(r"\s*\n\s*", "", body.group(1)) if body else ""
        symbols.append(SYMBOL.format(name=name, shapes=shapes))
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
