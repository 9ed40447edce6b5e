"""Copy the browser libraries to static/vendor and build the icon sprite.

``static/icons.txt`` lists the icons that the pages use, one Lucide name per line; a page shows one with ``<svg
class="icon"><use href="/static/vendor/icons.svg#play"></use></svg>``.
"""

from __future__ import annotations

import re
import subprocess
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
    "prism-code-editor/LICENSE": "prism-code-editor.LICENSE",
    "prism-code-editor/dist/layout.css": "prism-code-editor.css",
}
EDITOR = """
export { createEditor } from 'prism-code-editor'
export { defaultKeymap, editorCommands } from 'prism-code-editor/commands'
export { highlightBracketPairs } from 'prism-code-editor/highlight-brackets'
export { matchBrackets } from 'prism-code-editor/match-brackets'
import 'prism-code-editor/languages/python'
import 'prism-code-editor/prism/languages/python'
"""
"""What the pages use of the code editor, whose package has hundreds of modules: esbuild makes one of these."""
EXPORTS = {
    # Their modules are unminified or larger; the same code as a script defines one global name.
    "uPlot.esm.js": "uPlot",
    "markdown-it.esm.js": "globalThis.markdownit",
    "purify.esm.js": "globalThis.DOMPurify",
}
"""Scripts that become modules, with their exports."""
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
        # The source map is not copied, so browser tools would get an error for it.
        (VENDOR / name).write_text(re.sub(r"//# sourceMappingURL=.*", "", text), encoding="utf-8")
    (VENDOR / "prism-code-editor.esm.js").write_bytes(bundle(modules, EDITOR))
    names = [line.strip() for line in (PROJECT / "static" / "icons.txt").read_text().splitlines() if line.strip()]
    (VENDOR / "icons.svg").write_text(sprite(modules / "lucide-static" / "icons", names), encoding="utf-8")
    print(f"{VENDOR}: {len(FILES) + 1} files and {len(names)} icons")


def bundle(modules: Path, source: str) -> bytes:
    """One minified module of what ``source`` imports.

    esbuild's program is started as it is: the script that npm puts in front of it needs a newer Node.js than npm does.
    """
    (program,) = modules.glob("@esbuild/*/bin/esbuild")
    command = [str(program), "--bundle", "--minify", "--format=esm"]
    return subprocess.run(command, cwd=modules, input=source.encode(), stdout=subprocess.PIPE, check=True).stdout


def sprite(icons: Path, names: list[str]) -> str:
    """One SVG document with a symbol for each icon.

    Raises:
        SystemExit: The icon set lacks one of the names.
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
