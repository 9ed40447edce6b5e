"""The readiness check: gathers what is known about a configuration on this machine, and allows a start or not.

Looking fetches nothing and loads no model. Rows, token counts and what the reward can read are cached
by what they depend on, so that only changes are computed again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any, TypeVar

import core.rewards
import core.start
from core.config import DatasetSection, RewardSection, RunConfig
from core.data import lengths, sources
from core.data.answers import learned
from core.data.preference_facts import preferences_of
from core.data.prompts import conversation
from core.data.rows import map_rows, split_rows
from core.dataset import Row
from core.errors import Conflict, InvalidConfig, InvalidInput, TunesmithError
from core.job_dir import read_json
from core.methods import Need, method
from core.model import DEMO_MODEL, local_folder
from core.pace import Tokens
from core.preferences import Preferences
from core.readiness import Download, Facts, Readiness, RowFacts, Severity, check
from core.rewards import CATALOGUE, markers_of
from core.rewards.selfcheck import earns_with_reference
from core.settings import Home
from core.text import excerpt
from services.datasets.datasets import at_hand
from services.datasets.library import Library
from services.datasets.prompts import token_counts
from services.machine.hub_reach import HubReach
from services.machine.system import System
from services.models.families import BASE_MODELS
from services.models.layers import layers_here, model_facts
from services.models.memory import snapshot, weight_bytes
from services.rewards.bench import Bench
from services.runs.room import Room, room_for
from services.words import size

SAMPLE = 500
"""Rows that are examined."""
PATIENCE = 1.0
"""Time limit in seconds for scoring references on a page."""
FOR_PROGRAMS = "To start anyway, confirm it (confirm_reward: true, or --confirm-reward on the command line)."
KEPT = 32
T = TypeVar("T")


class Preflight:
    """Operations on the readiness of a configuration.

    Args:
        home: Location of datasets and downloads.
        system: The device.
        bench: Tests the reward, and caches fetched rows.
        library: Has the preparation reports.
        reach: Whether Hugging Face can be reached.
    """

    def __init__(self, home: Home, system: System, bench: Bench, library: Library, reach: HubReach) -> None:
        self._home, self._system, self._bench, self._library, self._reach = home, system, bench, library, reach
        self._kept: dict[str, Any] = {}
        self._lock = threading.Lock()

    def look(
        self, config: RunConfig, *, quick: bool = False, fetch: bool = False, without: frozenset[str] = frozenset()
    ) -> Readiness:
        """Everything known that prevents or argues against a start.

        Args:
            config: A valid configuration whose reward exists.
            quick: Whether a reward that needs a sandbox or rows that must be generated are only tested if the result is
                cached: every page of the wizard looks, and only the one before the start may take seconds.
            fetch: Whether Hugging Face rows may be fetched and a model loaded to test the reward, which takes seconds.
            without: Sections (model, dataset, reward) that are placeholders for missing choices: nothing is
                reported about them.
        """
        if Need.REWARD not in method(config.method).needs:
            without |= {"reward"}
        found = check(config, self._system.device(), self._facts(config, quick, fetch, without))
        return Readiness(tuple(p for p in found.problems if p.field.partition(".")[0] not in without))

    def known(
        self, config: RunConfig, without: frozenset[str] = frozenset()
    ) -> tuple[int | None, tuple[int, int] | None]:
        """The number of rows, and (max_sequence_length, max_new_tokens) that fit their references, if known.

        Args:
            without: Which of model and dataset are placeholders for missing choices.
        """
        rows, _ = (None, None) if "dataset" in without else self._rows(config, without | {"reward"})
        return (rows.rows, rows.proposed) if rows else (None, None)

    def tokens(self, config: RunConfig) -> Tokens | None:
        """Usual lengths of the dataset's rows, by the built-in model's tokenizer until the model's own is here."""
        built_in = config.model.model_copy(update={"name": DEMO_MODEL})
        for one in (config, config.model_copy(update={"model": built_in})):
            rows, _ = self._rows(one, frozenset({"reward"}))
            if rows and rows.usual:
                return rows.usual
        return None

    def admit(self, config: RunConfig, confirmed: bool, how: str = FOR_PROGRAMS) -> None:
        """Allow a start, or raise.

        Args:
            config: The configuration to start.
            confirmed: Whether the user chose to start although the reward has loopholes.
            how: A sentence on how to confirm it.

        Raises:
            InvalidConfig: Something blocks it, with the field's path.
            Conflict: Something must be confirmed first.
        """
        found = self.look(config, fetch=not confirmed)
        if blocks := found.of(Severity.BLOCKS):
            raise InvalidConfig([(problem.field, problem.message) for problem in blocks])
        asks = next((problem for problem in found.problems if problem.confirm), None)
        if asks and not confirmed:
            raise Conflict(f"{asks.message} {how}", field="confirm_reward")

    # --- facts ---

    def _facts(self, config: RunConfig, quick: bool, fetch: bool, without: frozenset[str]) -> Facts:
        tried = None
        if {"dataset", "reward"}.isdisjoint(without):
            slow = not at_hand(config.dataset) or _batched(config.reward)
            tried = self._bench.checked(config) if quick and slow else self._bench.check(config, fetch=fetch)
        rows, unusable = (None, None) if "dataset" in without else self._rows(config, without)
        room, problem = (Room(), None) if "model" in without else (self._room(config), self._start(config))
        return Facts(
            compares="reward" not in without and "response" in core.rewards.needs(config.reward),
            rows=rows,
            unusable=unusable,
            model=None if "model" in without else self._model_download(config),
            dataset=None if "dataset" in without else self._dataset_download(config.dataset),
            memory=room.memory,
            fits_in_4bit=room.fits_in_4bit,
            instead=room.instead,
            disk=room.disk,
            start=problem,
            shape=model_facts("" if "model" in without else config.model.name, config.model.adapter, self._home),
            layers=None if "model" in without else self._layers(config),
            loopholes=tried.warnings if tried else (),
            unchecked=tried.unchecked if tried else "",
            asked=bool(tried and tried.asked),
            model_type="" if "model" in without else self._model_type(config),
        )

    def _rows(self, config: RunConfig, without: frozenset[str]) -> tuple[RowFacts | None, tuple[str, str] | None]:
        try:
            mapped, left_out, total = self._mapped(config.dataset)
        except InvalidInput as error:
            return None, (error.field or "dataset.source", error.message)
        except TunesmithError:
            return None, None  # the dataset check reports what is missing
        if not mapped:
            return self._reported(config), None
        whole = total is not None and total <= SAMPLE
        facts: dict[str, Any] = {"seen": len(mapped), "whole": whole, "rows": total}
        facts["preferences"] = preferences_of(mapped, config.dataset, left_out, whole=whole)
        if "model" not in without:
            facts |= self._lengths(config, mapped)
        if "reward" not in without:
            facts |= self._readable(config, mapped)
        return RowFacts(**facts, held_out=_held_out(config, mapped, total, whole)), None

    def _mapped(self, dataset: DatasetSection) -> tuple[list[Row], dict[str, int], int | None]:
        """Local rows, how many are left out by reason, and the total number; empty if they would have to be fetched."""

        def read() -> tuple[list[Row], dict[str, int], int | None]:
            if not at_hand(dataset):
                raw = self._bench.known_rows(dataset)
                return (*(map_rows(raw, dataset) if raw else ([], {})), None)
            raw, _, total = sources.peek(dataset, self._home, SAMPLE)
            most = dataset.max_samples
            return (*map_rows(raw, dataset), min(total, most) if total is not None and most else total)

        if at_hand(dataset):
            return self._once(("rows", dataset.model_dump_json()), read)
        return read()

    def _reported(self, config: RunConfig) -> RowFacts | None:
        """The last preparation's report, if nothing has changed since."""
        report, outdated = self._library.draft_report(core.config.dump(config))
        if not report or outdated:
            return None
        used = report["train"] + report["holdout"] + report["test"]
        facts: dict[str, Any] = {"seen": used, "rows": used + report["spare"], "held_out": report["holdout"]}
        if found := report.get("lengths"):
            facts |= {
                "measured": found["rows"],
                "long_references": round(found["cut_references"] * found["rows"]),
                "longest_reference": found["reference"]["most"],
                "long_prompts": 0 if config.trains_conversations else round(found["cut_prompts"] * found["rows"]),
                "long_examples": round(found.get("cut_examples", 0) * found["rows"]),
                "longest_example": found.get("longest_example", 0),
                "proposed": (found["max_sequence_length"], found["max_new_tokens"]),
                "usual": Tokens(found["prompt"]["median"], found["reference"]["median"]),
            }
        if counted := report.get("preferences"):
            facts["preferences"] = Preferences(**counted)
        return RowFacts(**facts, judged=used, unreadable=report["unparseable"]) if used else None

    def _lengths(self, config: RunConfig, mapped: list[Row]) -> dict[str, Any]:
        folder = self._model_folder(config)
        if folder is None or not (folder / "tokenizer.json").is_file():
            return {}
        dataset, training, chosen = config.dataset, config.training, method(config.method)

        def count() -> tuple[list[int], list[int]] | None:
            # The chat template adds tokens; without it the count is slightly too low, never too high.
            prompts = tuple(conversation(row, dataset).text for row in mapped)
            targets = [learned(row, dataset, chosen.shapes) for row in mapped]
            texts = tuple(text for answers in targets for text in answers)
            counts, why = token_counts(folder / "tokenizer.json", prompts + texts)
            if why:
                return None
            known = [number or 0 for number in counts]
            rest = iter(known[len(mapped) :])
            # Of a pair, the longer answer: it decides whether the row fits.
            return known[: len(mapped)], [max(islice(rest, len(answers))) for answers in targets]

        shapes = [str(shape) for shape in chosen.shapes]
        measured = self._once(("tokens", str(folder), dataset.model_dump_json(), shapes, len(mapped)), count)
        if measured is None:
            return {}
        prompts, references = measured
        writes = Need.ROLLOUTS in chosen.needs
        longest = training.max_sequence_length - (training.max_new_tokens if writes else 1)
        whole = [prompt + reference for prompt, reference in zip(prompts, references, strict=True)]
        cut = [row for row, tokens in zip(mapped, whole, strict=True) if tokens > training.max_sequence_length]
        return {
            "measured": len(mapped),
            "long_references": sum(tokens > training.max_new_tokens for tokens in references),
            "longest_reference": max(references),
            # With whole conversations, earlier messages may be trained and fit.
            "long_prompts": 0 if config.trains_conversations else sum(tokens > longest for tokens in prompts),
            "long_examples": len(cut),
            "long_example": excerpt(str(cut[0]["instruction"])) if cut else "",
            "longest_example": max(whole),
            "proposed": lengths.propose(prompts, references),
            "usual": Tokens(fmean(prompts), fmean(references)),
        }

    def _readable(self, config: RunConfig, mapped: list[Row]) -> dict[str, Any]:
        missing = tuple(
            need
            for need in core.rewards.needs(config.reward)
            if need != "response" and not any(row.get(need) not in (None, "", []) for row in mapped)
        )
        if missing:
            return {"missing": missing}
        if _batched(config.reward, verifying=True):
            return {}  # would need to start a sandbox or a model

        def judge() -> dict[str, Any]:
            earns, until = earns_with_reference(config.reward, markers_of(config.dataset)), monotonic() + PATIENCE
            judged, failed = 0, []
            for row in mapped:
                judged += 1
                if row["response"] and not earns(row):
                    failed.append(row)
                if monotonic() > until:
                    break
            found: dict[str, Any] = {"judged": judged, "unreadable": len(failed)}
            if failed:
                found["example"] = excerpt(str(failed[0]["response"]))
                found["suggestion"] = self._suggestion(config)
            return found

        key = ("readable", config.dataset.model_dump_json(), config.reward.model_dump_json(), len(mapped))
        return self._once(key, judge)

    def _suggestion(self, config: RunConfig) -> tuple[dict[str, Any], str] | None:
        try:
            reward = self._bench.suggestion(config.dataset.model_dump(mode="json"))["reward"]
        except TunesmithError:
            return None
        if RewardSection.model_validate(reward) == config.reward:
            return None
        preset = core.rewards.PRESETS.get(reward.get("preset_name") or "")
        return reward, preset.title if preset else "the suggested reward"

    def _layers(self, config: RunConfig) -> tuple[str, str] | None:
        """What is wrong with the choice of layers for a model on this machine."""
        model = config.model
        known = layers_here(model.name, self._home) if model.adapter != "none" else None
        return known.check(model.layers, model.target_modules) if known else None

    def _room(self, config: RunConfig) -> Room:
        parameters = self.parameters(config)
        return Room() if parameters is None else room_for(config, parameters, self._system.device(), self._home)

    def _start(self, config: RunConfig) -> tuple[str, str] | None:
        """What is wrong with the earlier weights to go on from, as field and message."""
        try:
            core.start.checked(config, self._home)
        except InvalidConfig as error:
            return error.problems[0]
        except TunesmithError as error:
            return core.start.FIELD, error.message
        return None

    def parameters(self, config: RunConfig) -> float | None:
        """Parameters of a configuration's model, in billions; None if unknown before the download."""
        known = next((info.parameters for info in BASE_MODELS if info.name == config.model.name), None)
        if known is not None:
            return known
        folder = self._model_folder(config)
        return (weight_bytes(folder, 1) / 1e9 or None) if folder else None

    def _model_type(self, config: RunConfig) -> str:
        folder = self._model_folder(config)
        found = (read_json(folder / "config.json") or {}).get("model_type") if folder else None
        return found if isinstance(found, str) else ""

    def _model_folder(self, config: RunConfig) -> Path | None:
        try:
            return local_folder(config.model.name, self._home) or snapshot(config.model.name, self._home)
        except TunesmithError:
            return None  # reported by the model check

    def _model_download(self, config: RunConfig) -> Download | None:
        name = config.model.name
        try:
            if local_folder(name, self._home) or snapshot(name, self._home):
                return None
        except TunesmithError:
            return None
        parameters = self.parameters(config)
        # Nearly every model on Hugging Face has two bytes per weight.
        return Download(f"about {size(parameters * 2e9)}" if parameters else "", self._reach.look())

    def _dataset_download(self, dataset: DatasetSection) -> Download | None:
        names = [part.source for part in dataset.mix or (dataset,) if sources.is_hub(part.source)]
        hub = self._home.cache / "hub" / "hub"
        if all((hub / f"datasets--{name.replace('/', '--')}").is_dir() for name in names):
            return None
        if self._bench.known_rows(dataset) is not None:
            return None
        return Download("", self._reach.look())

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """The result of ``make``, cached under ``key``; the oldest are evicted."""
        text = json.dumps(key)
        if text in self._kept:
            kept: T = self._kept[text]
            return kept
        made = make()
        with self._lock:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[text] = made
        return made


def _batched(reward: RewardSection, *, verifying: bool = False) -> bool:
    """Whether a part, or one that checks correctness, is scored in batches: by a sandbox, a model or a judge."""
    infos = [CATALOGUE[part.name] for part in core.rewards.resolve(reward)]
    return any(info.batch for info in infos if info.verifies or not verifying)


def _held_out(config: RunConfig, mapped: list[Row], total: int | None, whole: bool) -> int | None:
    """The number of held-out rows: counted if all rows are local, else from the share."""
    evaluation = config.evaluation
    if evaluation.split or total is None:
        return None
    if whole:
        return len(split_rows(mapped, evaluation, config.training.seed).holdout)
    return min(evaluation.max_rows, round(total * evaluation.holdout_fraction))
