"""The evaluation job: one or more models answer the same prompts, and a reward scores the answers.

Each answer is written to ``completions.jsonl`` as soon as its batch is done (for a GGUF, within a second). A stop or
crash loses at most the current batch, and a resume continues with the unanswered prompts.
"""

from __future__ import annotations

from contextlib import closing

from core.config import RewardSection
from core.data import prompts
from core.data.rows import is_text, map_rows
from core.data.sources import load_rows
from core.dataset import Row
from core.errors import InvalidInput
from core.evaluation import EvaluationSpec, reports
from core.job_dir import JobDir, iter_rows, read_json, whole_lines, write_json
from core.job_rows import AnswerContent, CompletionRow, is_answer_of
from core.reward import Item, Total, opened_by
from core.rewards import Scorer, compose, markers_of, needs, settled
from core.settings import Home
from core.text import json_line
from core.training.evaluation.answering import Answerer, Answers, InLlama, InTransformers, Question, Written
from core.training.gguf.file import Cancelled
from core.training.job.checkpoint import whole_folder
from core.training.job.device import this_device, use_cores
from core.training.job.reporter import Reporter
from core.training.job.status import Status, Stopped

SETTLED = "reward.json"
"""Below ``prepared/``: the reward with all dataset-dependent settings resolved."""
STOPPED = "Stopped. The answers collected so far were saved. Resume continues with the rest."


def evaluate(run: JobDir, home: Home, status: Status) -> str:
    """Complete the rest of the evaluation in ``run``.

    Returns:
        A final message.

    Raises:
        Stopped: A user stopped it; existing answers are kept.
        TunesmithError: It cannot continue.
    """
    spec = EvaluationSpec.model_validate(run.whole_config())
    device = this_device()
    use_cores(device)
    status.update(device=device.name if device.kind == "cuda" else "cpu", message="Reading the questions")
    rows = _rows(run, spec, home, status)
    score = compose(_settled(run, spec.reward, rows), markers_of(spec.dataset)) if spec.reward else None
    done = {(group["model"], group["place"]) for group in iter_rows(run.completions, is_answer_of)}
    status.begin_phase("", "Loading the model", step=len(done), max_steps=len(rows) * len(spec.models))
    with (
        closing(Reporter(run, status.value.attempt)) as reporter,
        closing(InTransformers(spec, home, run, status)) as transformers,
    ):
        for index in range(len(spec.models)):
            left = [place for place in range(len(rows)) if (index, place) not in done]
            if left:
                _Asking(spec, index, rows, score, status, reporter).run(left, transformers)
    found = reports(spec, iter_rows(run.completions, is_answer_of))
    write_json(run.result, {"reports": [report.model_dump(mode="json") for report in found]})
    return found[0].sentence if len(found) == 1 else "Finished"


class _Asking:
    """Generates one model's answers."""

    def __init__(
        self,
        spec: EvaluationSpec,
        index: int,
        rows: list[Row],
        score: Scorer | None,
        status: Status,
        reporter: Reporter,
    ) -> None:
        self.spec, self.index, self.model = spec, index, spec.models[index]
        self.rows, self.score = rows, score
        self.status, self.reporter = status, reporter

    def run(self, left: list[int], transformers: InTransformers) -> None:
        """Answer the prompts with these indexes."""
        questions = [(place, prompts.conversation(self.rows[place], self.spec.dataset)) for place in left]
        self._stop_if_asked()
        self.status.update(message=f"Loading {self.model.label}")
        if self.model.resolved["kind"] == "gguf":
            transformers.close()
            with closing(InLlama(self.model.resolved["path"], self.spec, lambda: self.status.now_asked)) as llama:
                self._answer(questions, llama)
            return
        try:
            transformers.use(self.model, questions)
        except Cancelled:
            raise Stopped(STOPPED) from None
        self._answer(questions, transformers)

    def _answer(self, questions: list[Question], answerer: Answerer) -> None:
        self.status.update(message=f"{self.model.label} answers")
        pieces, left = answerer.answers(questions), len(questions)
        while left:
            self._stop_if_asked()
            piece = next(pieces)
            self._report(piece)
            self.status.update(step=self.status.value.step + len(piece))
            left -= len(piece)

    def _stop_if_asked(self) -> None:
        if self.status.stop_asked:
            raise Stopped(STOPPED)

    def _report(self, answers: Answers) -> None:
        for (place, one), total in zip(answers, self._totals(answers), strict=True):
            row = self.rows[place]
            values: AnswerContent = {
                "model": self.index,
                "place": place,
                "instruction": str(row["instruction"]),
                "prompt": one.prompt,
                "reference": row.get("response"),
                "completions": [_record(one, total)],
            }
            self.reporter.group("evaluation", place + 1, values)

    def _totals(self, answers: Answers) -> list[Total | None]:
        answered = [at for at, (_, one) in enumerate(answers) if self.score is not None and not one.problem]
        items = [self._item(*answers[at]) for at in answered]
        found: list[Total | None] = [None] * len(answers)
        for at, total in zip(answered, self.score.many(items) if self.score and items else [], strict=True):
            found[at] = total
        return found

    def _item(self, place: int, one: Written) -> Item:
        opened = opened_by(one.prompt, markers_of(self.spec.dataset))
        return Item(opened + one.text, str(self.rows[place]["instruction"]), self.rows[place])


def _rows(run: JobDir, spec: EvaluationSpec, home: Home, status: Status) -> list[Row]:
    """The given prompts, or the dataset's first ones, frozen at the first start."""
    frozen = run.prepared / "prompts.jsonl"
    if run.given.is_file():
        rows: list[Row] = whole_lines(run.given)
    elif frozen.is_file():
        rows = whole_lines(frozen)
    else:
        mapped, left_out = map_rows(load_rows(spec.dataset, home), spec.dataset)
        rows = mapped[: spec.limit]
        for reason, count in left_out.items():
            status.note(f"{count} rows were skipped: {reason}.")
        with whole_folder(run.prepared, "the prompts") as folder:
            (folder / frozen.name).write_bytes(b"".join(json_line(row, default=str) for row in rows))
            if spec.reward:
                # By all rows, as in training, not by the few that are used.
                write_json(folder / SETTLED, settled(spec.reward, mapped).model_dump(mode="json"))
    rows = [row for row in rows if not is_text(row)]
    if not rows:
        raise InvalidInput("There are no questions. Choose another dataset, split or file.", field="prompts")
    _check_needs(rows, spec)
    return rows


def _settled(run: JobDir, reward: RewardSection, rows: list[Row]) -> RewardSection:
    kept = read_json(run.prepared / SETTLED)
    return RewardSection.model_validate(kept) if kept else settled(reward, rows)


def _check_needs(rows: list[Row], spec: EvaluationSpec) -> None:
    """A reward that compares with a reference is useless if no row has one."""
    for name in needs(spec.reward) if spec.reward else ():
        if not any(str(row.get(name) or "").strip() for row in rows):
            raise InvalidInput(
                f"This reward needs the column {name}, which no question has. Choose another reward, or none.",
                field="reward",
            )


def _record(one: Written, total: Total | None) -> CompletionRow:
    record: CompletionRow = {"text": one.text, "tokens": one.tokens, "cut_off": one.cut_off}
    if one.problem:
        record["problem"] = one.problem
    if total is not None and total.opinion:
        record["total"] = total.total
        record["components"] = {name: part.json() for name, part in total.components.items()}
    return record
