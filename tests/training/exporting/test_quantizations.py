"""Every offered quantization, made with the installed llama.cpp and checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from transformers import LlamaConfig, LlamaForCausalLM

from core.errors import Unavailable
from core.export import BITS, NEED_MATRIX, UNREDUCED, Quantization
from core.gguf_size import ModelShape, tensor_bytes
from core.settings import PROJECT
from core.training.exporting import files as export_files
from core.training.gguf import file as gguf_file
from core.training.gguf import importance
from core.training.llama.selftest import TYPES
from tests.training.worker_runs import REAL, needs_model

pytestmark = [pytest.mark.training, needs_model]

WORDS, WIDTH, HEADS = 512, 256, 4
SQUARE = (WIDTH, WIDTH)
SHAPE = ModelShape(
    {
        "model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,),
        **{f"model.layers.0.self_attn.{name}_proj.weight": SQUARE for name in "qkvo"},
        **{f"model.layers.0.mlp.{name}_proj.weight": SQUARE for name in ("gate", "up", "down")},
        **{f"model.layers.0.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")},
    }, layers=1, sharing=1.0, vocabulary=WORDS,
)  # fmt: skip
"""The expected sizes are computed from this."""
REDUCED = [kind for kind in Quantization if kind not in UNREDUCED]
TRY = Path(__file__).parents[2] / "support" / "try_gguf.py"


class Source(NamedTuple):
    """A 256-wide model, so that every block type fits: as F16, in memory, and its importance matrix."""

    file: Path
    matrix: Path
    texts: list[list[int]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("quantizations")
    torch.manual_seed(5)
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, vocab_size=WORDS, max_position_embeddings=256, tie_word_embeddings=True,
        initializer_range=0.1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).float().eval()
    for name, weight in model.named_parameters():
        if "layernorm" in name:  # as in trained models, some columns carry far more than others
            torch.nn.init.normal_(weight, std=1.0)
            weight.data = weight.data.exp()
    write_f16(folder / "f16.gguf", model)
    texts = torch.randint(20, WORDS, (24, 48), generator=torch.Generator().manual_seed(1)).tolist()
    measured = importance.measure(model, texts, lambda: False)
    importance.write(folder / "matrix.npz", importance.by_tensor(measured, "llama", 1, tied=True))
    return Source(folder / "f16.gguf", folder / "matrix.npz", texts[:8])


def write_f16(path: Path, model: Any) -> None:
    """The model as a converter would write it, with the built-in model's first tokens."""
    tokenizer = json.loads((REAL / "tokenizer.json").read_text("utf-8"))["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)[:WORDS]
    pairs = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["merges"]]
    merges = [pair for pair in pairs if pair.replace(" ", "") in set(tokens)]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(WORDS)
    writer.add_file_type(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, weight in tensors(model).items():
        array = weight.detach().numpy()
        writer.add_tensor(name, array if array.ndim == 1 else array.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(model: Any) -> dict[str, torch.Tensor]:
    """GGUF's names; the rows of q and k in llama.cpp's order."""
    found = {"token_embd.weight": model.model.embed_tokens.weight, "output_norm.weight": model.model.norm.weight}
    for number, layer in enumerate(model.model.layers):
        attention, block = layer.self_attn, layer.mlp
        parts = {
            "attn_norm": layer.input_layernorm, "ffn_norm": layer.post_attention_layernorm,
            "attn_v": attention.v_proj, "attn_output": attention.o_proj,
            "ffn_gate": block.gate_proj, "ffn_up": block.up_proj, "ffn_down": block.down_proj,
        }  # fmt: skip
        found |= {f"blk.{number}.{name}.weight": part.weight for name, part in parts.items()}
        for name, part in (("attn_q", attention.q_proj), ("attn_k", attention.k_proj)):
            rows = part.weight.reshape(HEADS, 2, -1, WIDTH).swapaxes(1, 2).reshape(WIDTH, WIDTH)
            found[f"blk.{number}.{name}.weight"] = rows
    return found


def tried(*files: Path, texts: list[list[int]]) -> list[dict[str, Any]]:
    """llama.cpp's own metadata of each file, and its answer, in one process."""
    asked = json.dumps({"files": [str(file) for file in files], "texts": texts})
    done = subprocess.run(
        [sys.executable, str(TRY)], input=asked, capture_output=True, text=True, check=True, timeout=120
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def quantized(source: Path, wanted: list[tuple[Path, Quantization, Path | None]]) -> subprocess.CompletedProcess[str]:
    """Many files with the worker's function; one process, because loading llama.cpp takes longer than the work."""
    lines = [f"import sys; sys.path.append({str(PROJECT)!r}); from core.training.gguf.quantize_child import quantize"]
    for target, kind, matrix in wanted:
        call = f"quantize({str(source)!r}, {str(target)!r}, {kind.label!r}, {str(matrix or '')!r})"
        lines += ["try:", f"    {call}", "except SystemExit as error:", "    failed = error", "    print(error)"]
    script = "\n".join([*lines, "sys.exit('failed' in dir())"])
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def made(source: Source) -> dict[Quantization, tuple[Path, dict[str, Any]]]:
    """Every quantization, with llama.cpp's metadata."""
    files = {kind: source.file.with_name(f"{kind.value}.gguf") for kind in REDUCED}
    matrix = {kind: source.matrix if kind in NEED_MATRIX else None for kind in REDUCED}
    done = quantized(source.file, [(files[kind], kind, matrix[kind]) for kind in REDUCED])
    assert done.returncode == 0, done.stderr[-2000:]
    said = tried(*files.values(), texts=source.texts[:1])
    return {kind: (file, facts) for (kind, file), facts in zip(files.items(), said, strict=True)}


@pytest.mark.parametrize("kind", REDUCED, ids=lambda kind: kind.value)
def test_it_is_what_it_says(kind: Quantization, made: dict[Quantization, tuple[Path, dict[str, Any]]]) -> None:
    """Displayed type, tensor types, size and bits equal what llama.cpp reads; it loads, answers, and is self-tested."""
    file, said = made[kind]
    shown = export_files.exported(file, {})
    assert shown.file_type == kind.label
    assert said["file_type"] == gguf_file.FILE_TYPES[kind.label]
    assert shown.size == file.stat().st_size
    assert sum(shown.tensor_types.values()) == len(shown.tensors) == 2 + 9
    assert set(shown.tensor_types) <= set(TYPES), "llama.cpp's self-test does not try it"
    assert shown.bits_per_weight is not None
    assert shown.bits_per_weight == pytest.approx(8 * said["bytes"] / said["parameters"], abs=1e-3)
    assert shown.bits_per_weight <= BITS[kind]
    assert said["bytes"] == tensor_bytes(SHAPE, kind, matrix=kind in NEED_MATRIX), shown.tensor_types
    assert len(said["answer"]) == 4
    assert np.isfinite(said["likeliest"]).all()


def test_types_that_need_an_importance_matrix_are_refused_without_one(source: Source) -> None:
    """llama.cpp refuses every such type, so the page does not offer it without one."""
    files = [source.file.with_name(f"none-{kind.value}.gguf") for kind in NEED_MATRIX]
    done = quantized(source.file, [(file, kind, None) for file, kind in zip(files, NEED_MATRIX, strict=True)])
    assert done.stderr.count("requires an imatrix") == len(NEED_MATRIX)
    with pytest.raises(Unavailable, match="imatrix"):
        gguf_file.quantize(source.file, files[0], Quantization.IQ2_XXS, lambda: False)


def test_an_importance_matrix_brings_it_closer(
    source: Source, made: dict[Quantization, tuple[Path, dict[str, Any]]]
) -> None:
    """Q2_K with the matrix differs less from F16 than without, on similar texts."""
    helped = source.file.with_name("helped.gguf")
    gguf_file.quantize(source.file, helped, Quantization.Q2_K, lambda: False, source.matrix)
    truth, plain, better = (
        np.array(facts["probabilities"])
        for facts in tried(source.file, made[Quantization.Q2_K][0], helped, texts=source.texts)
    )
    kl_plain, kl_better = (float((np.exp(truth) * (truth - other)).sum(-1).mean()) for other in (plain, better))
    assert 0 < kl_better < 0.9 * kl_plain
