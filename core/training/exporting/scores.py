"""Exports of a reward model: the adapter with its head, or one folder that transformers loads as a classifier.

There is no GGUF, because the programs that read it only let a model write. An export is compared with the trained
model by its scores of the held-out answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import pstdev
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from core.data import prompts
from core.export import ExportedFile, ExportFormat
from core.fidelity import FidelityReport, FidelityVerdict
from core.job_dir import iter_lines
from core.model import original_name
from core.training.exporting import adapter_file, merge
from core.training.exporting.job import CHECKING, Export
from core.training.job.device import use_cores
from core.training.models.load import load_tokenizer
from core.training.models.score import score_at_the_end
from core.training.models.score import scores as scores_of
from core.training.models.scorer import RunScorer, load_scorer
from core.weights import ADAPTER_SETTINGS

COMPARED = 16
"""Held-out pairs whose answers are scored by both."""
SAME, SIMILAR = 0.1, 0.5
"""Largest difference of a score, in standard deviations of the trained model's scores: up to the first, the export is
faithful; above the second, it is another model. 16-bit weights move scores by about 0.02."""
QUESTIONS = ("What is 2 + 2?", "Name the capital of France.", "Write a short thank-you note.")
ANSWERS = ("4", "Paris.", "I don't know.", "Thank you for your help.")
"""Scored if no pairs are held out."""


class ScoreExport(Export):
    """An export of a run that trained a reward model."""

    def _make(self) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        if self.spec.format == ExportFormat.BUNDLE:
            return self._bundle()
        assert self.origin.session is not None  # noqa: S101 (only a run can be known to be a reward model)
        self._check_room()
        use_cores(merge.CPU)
        self._next("Loading the base model and the adapter")
        trained = load_scorer(self.origin.session, self.home, merge.CPU, self.spec.checkpoint)
        self._next(CHECKING)
        texts = self._texts(trained)
        wanted = trained.scores(texts)
        if self.spec.format == ExportFormat.ADAPTER:
            adapter_file.check_adapter(self.origin)
            return self._adapter_of(trained, texts, wanted)
        merged = trained.model
        if self.origin.adapter:
            self._next("Merging base and adapter")
            merged = merged.merge_and_unload(safe_merge=True)
        self._next("Writing the merged model")
        merged.config.id2label, merged.config.label2id = {0: "score"}, {"score": 0}
        merge.write(merged, trained.tokenizer, self.partial, merge.stored_dtype(self.origin))
        del merged
        self._next("Checking the merged model against the trained one")
        self._judge(compared("merged", wanted, _read_back(self.partial, texts)))
        self._next("Reading the files back")
        return self._files(), merged_commands(self._system())

    def _adapter_of(
        self, trained: RunScorer, texts: Sequence[list[int]], wanted: Sequence[float]
    ) -> tuple[list[ExportedFile], list[dict[str, str]]]:
        self._next("Copying the adapter")
        adapter_file.copy(self.origin, self.partial)
        base = trained.model.unload()
        self._next("Checking the copy against the trained model")
        # The head comes with the adapter; another one in its place shows that it is read from the file.
        torch.nn.init.zeros_(_head(base).weight)
        copied = PeftModel.from_pretrained(base, str(self.partial)).eval()
        self._judge(compared("adapter", wanted, scores_of(copied, texts)))
        name = original_name(self.origin.base)
        merge.name_base(self.partial / ADAPTER_SETTINGS, name)
        self._next("Reading the files back")
        return self._files(), adapter_commands(name, self._system())

    def _system(self) -> str:
        """The system prompt that the model was trained with."""
        return prompts.system_prompt(self._dataset())

    def _texts(self, trained: RunScorer) -> list[list[int]]:
        assert self.origin.session is not None  # noqa: S101 (as above)
        rows = list(iter_lines(self.origin.session.prepared / "holdout.jsonl"))[:COMPARED]
        asked = [_asked(row, side) for row in rows for side in ("chosen", "rejected")]
        asked = asked or [(question, answer, None) for question in QUESTIONS for answer in ANSWERS]
        return [trained.ids(*one) for one in asked]


def _asked(row: Mapping[str, Any], side: str) -> tuple[str, str, Any]:
    return str(row.get("instruction", "")), str(row.get(side, "")), row.get("conversation")


def _head(model: Any) -> Any:
    return model.score if hasattr(model, "score") else model.classifier


def _read_back(folder: Path, texts: Sequence[list[int]]) -> list[float]:
    """The scores of a finished folder, computed in float32."""
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    score_at_the_end(model, load_tokenizer(str(folder)))
    return scores_of(model, texts)


def compared(subject: str, wanted: Sequence[float], found: Sequence[float]) -> FidelityReport:
    """An export's scores beside those of the trained model, for the same texts.

    >>> compared("merged", [0.0, 1.0, 2.0], [0.0, 1.01, 2.0]).verdict
    <FidelityVerdict.FAITHFUL: 'faithful'>
    >>> compared("merged", [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]).verdict
    <FidelityVerdict.BROKEN: 'broken'>
    """
    spread = pstdev(wanted) or 1.0
    off = max(abs(one - other) for one, other in zip(wanted, found, strict=True))
    share = off / spread
    figures = f"of {len(wanted)} scores, the largest difference is {off:.2g} ({share:.2g} standard deviations)"
    if not share <= SIMILAR:
        verdict, reason = FidelityVerdict.BROKEN, f"Its scores are not those of the trained model: {figures}."
    elif share <= SAME:
        verdict, reason = FidelityVerdict.FAITHFUL, f"It scores like the trained model: {figures}."
    else:
        verdict, reason = FidelityVerdict.LOSES_QUALITY, f"It scores a little differently: {figures}."
    return FidelityReport(subject=subject, verdict=verdict, reason=reason, prompts=len(wanted))


def adapter_commands(base: str, system: str) -> list[dict[str, str]]:
    """For an adapter with its head, in PEFT's format."""
    text = (
        "import torch\nfrom peft import PeftModel\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        f'base = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels=1)\n'
        "base.config.pad_token_id = tokenizer.pad_token_id\n"
        'model = PeftModel.from_pretrained(base, ".").eval()\n' + _scoring(system)
    )
    return [{"title": "Python, in the folder with the downloaded files", "text": text}]


def merged_commands(system: str) -> list[dict[str, str]]:
    """For a merged folder."""
    text = (
        "import torch\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        'model = AutoModelForSequenceClassification.from_pretrained(".").eval()\n' + _scoring(system)
    )
    return [{"title": "Python, in the folder with the downloaded files", "text": text}]


def _scoring(system: str) -> str:
    chat = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
    if system:
        chat.insert(0, {"role": "system", "content": system})
    return (
        f"chat = {json.dumps(chat, ensure_ascii=False)}\n"
        'inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)\n'
        "with torch.no_grad():\n    print(model(**inputs).logits[0, 0].item())"
    )
