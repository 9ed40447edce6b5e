"""llama.cpp's converter in a separate process, with facts about a tokenizer that it cannot detect.

``convert_child.py <converter.py> <facts, JSON> <converter arguments …>``

The JSON has ``rule``, llama.cpp's name of the pre-tokenizer, used if the converter does not recognize it, and
``flags``, header fields that override the converter's.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

NO_RULE = 3
"""Exit code: llama.cpp has no pre-tokenizer for this tokenizer."""


def tell(rule: str, flags: dict[str, bool]) -> None:
    """Patch the converter in two places before it runs. Its own folder is first on the path."""
    from conversion.base import TextModel  # type: ignore[import-not-found]  # in .tools/convert
    from gguf import GGUFWriter

    recognise, write = TextModel.get_vocab_base_pre, GGUFWriter.write_header_to_file

    def or_told(model: Any, tokenizer: Any) -> str:
        try:
            return str(recognise(model, tokenizer))
        except NotImplementedError:
            if not rule:
                sys.exit(NO_RULE)
            return rule

    def with_flags(writer: Any, path: Path | None = None) -> None:
        for name, value in flags.items():
            writer.add_bool(name, value)
        write(writer, path)

    TextModel.get_vocab_base_pre = or_told
    GGUFWriter.write_header_to_file = with_flags


if __name__ == "__main__":
    script, told, *arguments = sys.argv[1:]
    sys.path[0] = str(Path(script).parent)
    tell(**json.loads(told))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
