"""The contents of an export's Modelfile reach Ollama's create request unchanged."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from core import rerun
from core.delivery import modelfile_reader, ollama
from core.delivery.modelfile_reader import create_fields, instructions, modelfile_for
from core.training.exporting.modelfile import FAMILIES, Family, modelfile
from services.exports import delivery_view

SYSTEM = 'Answer in one line.\n\n# not a comment\nSYSTEM not an instruction\n"quoted" and \u2028 \x0b odd'
LICENCE = "Apache License\n                   Version 2.0\n\n   1. Definitions.\n\n# end"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_part_of_a_modelfile_is_read_back(family: Family) -> None:
    """Template, stops, sampling, system prompt and license of each family, byte for byte."""
    text = modelfile("m.gguf", family, SYSTEM, "<|end|>", parameters={"temperature": 0.6, "top_k": 20}, licence=LICENCE)
    found = create_fields(text)
    assert found["template"] == family.template()
    assert found["system"] == SYSTEM
    assert found["license"] == [LICENCE]
    assert found["parameters"] == {
        "stop": list(dict.fromkeys(["<|end|>", *family.stops])), "temperature": 0.6, "top_k": 20,
    }  # fmt: skip
    assert instructions(text)[0] == ("FROM", "./m.gguf")


@pytest.mark.parametrize("module", [modelfile_reader, ollama, rerun, delivery_view], ids=lambda module: module.__name__)
def test_the_examples_in_the_documentation_are_right(module: ModuleType) -> None:
    """Addresses as Ollama reads them, Modelfiles, curves, names."""
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_each_file_has_its_own_modelfile(tmp_path: Path) -> None:
    """If there are several, the one that names the file; an adapter is named by its own line."""
    for name, file in (("Modelfile", "a-Q4_K_M.gguf"), ("Modelfile-Q8_0", "a-Q8_0.gguf")):
        (tmp_path / name).write_text(modelfile(file, None, file, "</s>"))
    assert create_fields(modelfile_for(tmp_path, "a-Q8_0.gguf"))["system"] == "a-Q8_0.gguf"
    assert create_fields(modelfile_for(tmp_path, "a-Q4_K_M.gguf"))["system"] == "a-Q4_K_M.gguf"
    (tmp_path / "Modelfile-lora").write_text(modelfile("base.gguf", None, "lora", "</s>", adapter="lora.gguf"))
    assert create_fields(modelfile_for(tmp_path, "lora.gguf"))["system"] == "lora"
