"""A reward model in a separate process: a tiny random sequence classifier really scores."""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from core.errors import InvalidInput
from core.reward import Item, Markers, Score
from core.rewards import Account, charged_to
from core.rewards import classifier as processes
from core.rewards import reward_model as judging
from core.rewards.reward_model import reward_model
from core.training.chat.classify import load
from tests.support.live import until
from tests.training.worker_runs import REAL, needs_model

pytestmark = [pytest.mark.training, needs_model]

LABELS = ("poor", "fair", "good")
MARKERS = Markers("<w>", "</w>", "<s>", "</s>")
ITEMS = [
    Item(text, "Capital of France?", {})
    for text in ("Paris", "It may be Lyon, or Nice, or Metz", "", "Paris", "\ud800")
]


def classifier(folder: Path, labels: int, seed: int = 0) -> Path:
    """A two-layer classifier with a meaningful head."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        **shape, num_key_value_heads=1, vocab_size=49152, max_position_embeddings=256, pad_token_id=2, bos_token_id=1,
        eos_token_id=2, num_labels=labels, initializer_range=0.3,
    )  # fmt: skip
    if labels == len(LABELS):
        config.id2label, config.label2id = dict(enumerate(LABELS)), {name: place for place, name in enumerate(LABELS)}
    LlamaForSequenceClassification(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(REAL / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A classifier with one output; its process ends with the module."""
    yield classifier(tmp_path_factory.mktemp("one"), 1)
    processes.close_all()


def scores(model: Path | str, items: list[Item] = ITEMS, **params: object) -> list[Score]:
    return reward_model(items, markers=MARKERS, model=str(model), **params)  # type: ignore[arg-type]


def test_it_scores_in_batches_remembers_and_counts(one: Path) -> None:
    """Scores are between 0 and 1, differ, do not depend on the batch; repeated answers are cached."""
    with charged_to(Account()) as account:
        found = scores(one, batch=2)
    assert all(0 <= score.value <= 1 and "raw score" in score.why for score in found)
    assert found[0] == found[3] != found[1]
    assert (account.spent.requests, account.spent.cached, account.spent.failed) == (4, 1, 0)
    assert account.spent.tokens > 20
    with charged_to(Account()) as account:
        assert scores(one) == found
    assert (account.spent.requests, account.spent.cached) == (0, 5)
    judging._CACHE.clear()
    assert [score.value for score in scores(one, batch=5)] == pytest.approx([score.value for score in found], abs=1e-5)


def test_the_scale_is_moved_as_the_settings_say(one: Path) -> None:
    """The raw score at the center counts as 0.5; one width above it as 0.73."""
    raw = float(scores(one)[0].why.split()[-1].rstrip("."))
    assert scores(one, centre=raw)[0].value == pytest.approx(0.5, abs=1e-3)
    assert scores(one, centre=raw - 2, width=2.0)[0].value == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-3)


def test_it_is_the_model_s_own_number(one: Path) -> None:
    """Equal to one pass of the classifier over the chat, computed here."""
    from transformers import AutoTokenizer

    model, tokenizer = LlamaForSequenceClassification.from_pretrained(one).eval(), AutoTokenizer.from_pretrained(one)
    chat = [{"role": "user", "content": ITEMS[0].prompt}, {"role": "assistant", "content": "Paris"}]
    ids = tokenizer.apply_chat_template(chat, tokenize=True, return_tensors="pt", return_dict=True)["input_ids"]
    with torch.no_grad():
        raw = float(model(ids).logits[0, 0])
    assert scores(one)[0].value == pytest.approx(1 / (1 + math.exp(-raw)), abs=1e-5)


def judged(folder: Path | str, text: str = "Paris", form: str = "auto") -> judging.Outputs:
    """The process's computation, done here."""
    loaded = load({"model": str(folder), "form": form, "max_tokens": 128})
    outputs, _ = loaded.outputs([["Capital of France?", text]])
    return judging.Outputs(tuple(outputs[0]), loaded.labels)


def test_labels_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    """Softmax over the labels adds up to 1; an unknown label gets a list of the valid ones."""
    found = judged(classifier(tmp_path / "three", 3))
    by_label = {label: judging._score(found, "auto", label, 0, 1).value for label in ("poor", "FAIR", "2")}
    assert math.fsum(by_label.values()) == pytest.approx(1)
    assert judging._score(found, "auto", "", 0, 1).value == by_label["2"]
    assert judging._score(found, "sigmoid", "fair", 0, 1).value == pytest.approx(1 / (1 + math.exp(-found.values[1])))
    assert "its labels are poor, fair, good" in judging._score(found, "auto", "best", 0, 1).why


def test_how_it_is_shown_the_answer_counts(one: Path) -> None:
    """As a chat, a pair, or the answer alone: three texts, three scores."""
    assert len({judged(one, form=form).values for form in ("chat", "pair", "answer")}) == 3


def test_pickled_weights_are_not_loaded(one: Path, tmp_path: Path) -> None:
    """Only safetensors are."""
    shutil.copytree(one, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="has no safetensors weights"):
        judged(tmp_path / "pickled")


def test_code_out_of_a_repository_is_not_run(one: Path, tmp_path: Path) -> None:
    """A configuration that refers to custom code is refused, and the code is never read."""
    folder = shutil.copytree(one, tmp_path / "custom")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "custom",
        "auto_map": {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(InvalidInput, match="never run"):
        judged(folder)


def test_a_model_without_a_head_is_refused_and_not_tried_again_at_once(one: Path, tmp_path: Path) -> None:
    """A language model would score at random."""
    folder = shutil.copytree(one, tmp_path / "language-model")
    LlamaForCausalLM(LlamaConfig.from_pretrained(one)).save_pretrained(folder)
    with charged_to(Account()) as account:
        assert "is not a reward model" in scores(folder)[0].why
    assert account.spent.failed == 4
    tried = [one.refused[0] for one in processes.RUNNING.values()]
    assert "is not a reward model" in scores(folder)[0].why
    assert [one.refused[0] for one in processes.RUNNING.values()] == tried


def test_one_that_is_late_fails_its_batch_and_new_weights_are_noticed(one: Path) -> None:
    """Its process is killed; the next batch starts it again, with the folder's current content."""
    before = scores(one)[0].value
    judging._CACHE.clear()
    (asleep,) = [each.process for each in processes.RUNNING.values() if each.process]
    asleep.send_signal(signal.SIGSTOP)  # Running, it may be faster than this process.
    until(lambda: psutil.Process(asleep.pid).status(), lambda found: found == psutil.STATUS_STOPPED)
    assert "longer than 0.0001 seconds" in scores(one, timeout=0.0001)[0].why
    assert all(one.process is None for one in processes.RUNNING.values() if not one.refused[1])
    classifier(one, 1, seed=1)
    assert 0 < scores(one)[0].value != before
