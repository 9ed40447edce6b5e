"""The configuration file: one frozen pydantic model for each section.

The format is the product's public face. A field keeps its name and meaning for good; new ones are
optional and have a default, so that a file written by an older version still loads. Titles and
descriptions here are what the configuration page shows: plain words first, the field's term in
brackets.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import InvalidConfig

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GPU_OPTIMIZERS = ("paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit")
"""Optimizers of bitsandbytes, which needs CUDA. On a CPU ``adamw_torch`` does the same arithmetic."""
RolloutEngine = Literal["auto", "transformers", "llama_cpp"]

DEFAULT_SYSTEM_PROMPT = (
    "You are given a problem.\n"
    "Think about the problem and provide your working out.\n"
    "Place it between {reasoning_start} and {reasoning_end}.\n"
    "Then, provide your solution between {solution_start} and {solution_end}."
)
"""The default of Unsloth's GRPO notebooks. The four markers are filled in from the configuration."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ModelSection(_Section):
    name: str = Field(
        min_length=1, max_length=500, title="Model",
        description="A model of the Hub such as Qwen/Qwen3-0.6B, a folder on this machine, or the built-in one.",
    )
    revision: str | None = Field(None, title="Revision", description="A branch, tag or commit of the Hub model; empty for the newest.")
    lora_rank: int = Field(16, ge=1, le=1024, title="Adapter size (LoRA rank)", description="How much the adapter can learn. 8 to 32 fits most tasks; more costs memory.")
    lora_alpha: int = Field(32, ge=1, le=4096, title="Adapter strength (LoRA alpha)", description="How strongly the adapter is applied. Twice the rank is usual.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, title="Adapter dropout (LoRA dropout)", description="Share of adapter inputs switched off at random. 0 is fastest and usual for reinforcement learning.")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field("all-linear", title="Adapted layers (target modules)", description="Which layers get an adapter. All linear layers learn best.")
    use_rslora: bool = Field(False, title="Rank-stabilised adapter (rsLoRA)", description="Scales the adapter by the square root of its rank; helps above rank 64.")
    load_in_4bit: bool = Field(False, title="Load in 4 bit (quantization)", description="Needs about a quarter of the memory. Only with an NVIDIA GPU.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", title="Number format (dtype)", description="Auto takes bfloat16 on a GPU that has it and float32 on a CPU, where it is faster.")


class GeneratedTask(_Section):
    """One kind of exercise of reasoning-gym."""

    name: str = Field(min_length=1, max_length=100, title="Task", description="Name of the exercise, such as chain_sum.")
    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Its share among the tasks; 2 and 1 mean two thirds and one third.")
    difficulty: int | None = Field(None, ge=0, le=5, title="Difficulty", description="0 is easiest, 5 hardest. Empty for the task's own mixture.")


class SourceFields(_Section):
    """Where rows come from and which of their columns is what."""

    source: str = Field(min_length=1, max_length=500, title="Dataset", description="upload:<id>, generated:arithmetic, generated:reasoning-gym, mix, or a dataset of the Hub such as openai/gsm8k.")
    subset: str | None = Field(None, title="Subset (configuration)", description="The Hub dataset's subset, where it has several; GSM8K's is 'main'.")
    revision: str | None = Field(None, title="Revision", description="A branch, tag or commit of the Hub dataset; empty for the newest.")
    split: str = Field("train", min_length=1, title="Split", description="Which part of the dataset to learn from.")
    instruction_field: str = Field("question", min_length=1, title="Question column (instruction)", description="The column that the model is asked.")
    response_field: str = Field("answer", title="Answer column (reference)", description="The column with the right answer. Rewards compare against it.")
    instruction_template: str | None = Field(None, max_length=20_000, title="Text of the question", description="Where a question takes several columns: text with {column} for each, such as {context} and then {question}. Empty: the question column alone.")
    extraction: Literal["none", "after_marker", "last_number", "boxed", "regex", "json_path"] = Field("none", title="Take the answer out by rule (extraction)", description="How the reference is found in the answer column. GSM8K's stands after the marker ####.")
    extraction_pattern: str = Field("", max_length=2000, title="Marker, expression or path", description="What the rule looks for: the marker, the regular expression, or a path such as answers.text[0].")
    columns: dict[str, str] = Field(default_factory=dict, title="Further columns for rewards", description="A reward's name for a column, and the column, with commas between: tests = test_list, choices. Every other column keeps its own name.")
    max_samples: int | None = Field(None, ge=1, title="Rows to use", description="Empty for all rows.")
    size: int = Field(512, ge=8, le=1_000_000, title="Rows to make", description="For generated tasks only: how many rows are made.")
    max_operand: int = Field(50, ge=1, le=1_000_000, title="Largest number", description="For the arithmetic task only: numbers are drawn from 1 up to this.")
    tasks: tuple[GeneratedTask, ...] = Field((), max_length=110, title="Tasks", description="For generated:reasoning-gym: which exercises, how hard, and in which proportion.")


class MixSource(SourceFields):
    """One of several sources, with its own mapping."""

    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Its share among the sources; 2 and 1 mean two thirds and one third.")


class DatasetSection(SourceFields):
    mix: tuple[MixSource, ...] = Field((), max_length=20, title="Sources to mix", description="For the source 'mix': datasets with their weights and mappings.")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the rows", description="Generated and mixed rows are the same for the same seed.")
    deduplicate: Literal["off", "exact", "near"] = Field("off", title="Leave out repeated rows (deduplication)", description="'exact' leaves out rows with the same question and answer; 'near' also those whose questions share four fifths of their words in order.")
    drop_unparseable: bool = Field(False, title="Leave out rows that the reward cannot check", description="Rows whose reference is not what the reward compares with, such as a number.")
    drop_personal: bool = Field(False, title="Leave out secrets and e-mail addresses", description="Rows that hold an e-mail address, or what looks like a password or an access key.")
    drop_overlap: bool = Field(False, title="Leave out what the held-out rows ask", description="Rows to train on whose question is nearly that of a held-out row.")
    system_prompt: str | None = Field(None, max_length=20_000, title="System prompt", description="What the model is told before each question. Empty for the default with markers; {solution_start} and its like are filled in.")
    chat_template: str | None = Field(None, max_length=100_000, title="Chat template", description="Jinja text that turns system prompt and question into what the model reads. Empty for the model's own, which suits it best.")
    reasoning_start: str = Field("<start_working_out>", title="Working-out begins", description="Marker before the model's working-out.")
    reasoning_end: str = Field("<end_working_out>", title="Working-out ends", description="Marker after the model's working-out.")
    solution_start: str = Field("<SOLUTION>", title="Solution begins", description="Marker before the model's answer.")
    solution_end: str = Field("</SOLUTION>", title="Solution ends", description="Marker after the model's answer.")


class TrainingSection(_Section):
    num_epochs: float = Field(1, gt=0, le=1000, title="Passes over the data (epochs)", description="How often each question is used. Ignored where a number of steps is set.")
    max_steps: int | None = Field(None, ge=1, title="Steps", description="Stop after this many steps. Empty: as many as the epochs need.")
    batch_size: int = Field(1, ge=1, le=4096, title="Answers at once (batch size)", description="Completions in one forward pass on each device. Answers at once times accumulation must be a multiple of the group size.")
    gradient_accumulation_steps: int = Field(8, ge=1, le=4096, title="Batches per step (gradient accumulation)", description="How many batches are gathered before the model changes. Costs time, not memory.")
    num_generations: int = Field(8, ge=2, le=1024, title="Answers per question (group size)", description="The answers to one question are compared with each other; 4 to 16 is usual.")
    learning_rate: float = Field(2e-4, gt=0, le=1, title="Learning rate", description="How far each step goes. With an adapter 1e-5 to 2e-4; smaller is safer.")
    warmup_steps: int = Field(10, ge=0, title="Steps of rising rate (learning-rate warm-up)", description="The learning rate rises from zero over this many steps.")
    weight_decay: float = Field(0.001, ge=0, le=1, title="Weight decay", description="Pulls the adapter's numbers towards zero.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, title="Adam beta 1", description="Memory of the optimizer for the direction.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, title="Adam beta 2", description="Memory of the optimizer for the size. 0.99 reacts faster in short runs.")
    max_grad_norm: float = Field(0.3, gt=0, title="Largest step (gradient clipping)", description="Gradients with a norm above this are scaled down.")
    lr_scheduler_type: Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial"] = Field("constant", title="Learning-rate schedule", description="How the learning rate changes over the run. With 'constant' the rising steps above have no effect.")
    optim: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "sgd", "adafactor"] = Field("adamw_torch", title="Optimizer", description="The method that changes the weights. The paged and 8-bit ones save GPU memory; on a CPU plain AdamW takes their place.")
    max_sequence_length: int = Field(1024, ge=16, le=1_048_576, title="Longest text (sequence length)", description="Question and answer together, in tokens. Rows with a longer question are left out and counted.")
    max_new_tokens: int = Field(256, ge=1, le=131_072, title="Longest answer (completion length)", description="In tokens; three quarters of a word each. Too small, and answers are cut off before the solution.")
    temperature: float = Field(1.0, gt=0, le=5, title="Variety (temperature)", description="Higher makes answers differ more. Answers to one question must differ for anything to be learnt.")
    top_p: float = Field(1.0, gt=0, le=1, title="Nucleus (top-p)", description="Draw only from the likeliest tokens that add up to this share. 1 is off and usual in training.")
    top_k: int = Field(0, ge=0, title="Candidates (top-k)", description="Draw only from this many likeliest tokens. 0 is off.")
    min_p: float | None = Field(None, ge=0, le=1, title="Least share (min-p)", description="Leave out tokens below this share of the likeliest one. Empty is off.")
    repetition_penalty: float = Field(1.0, gt=0, le=10, title="Repetition penalty", description="Above 1 discourages tokens already used. 1 is off and usual in training.")
    gradient_checkpointing: bool = Field(False, title="Save memory (gradient checkpointing)", description="Computes some things twice to use less memory; about a third slower.")
    save_steps: int = Field(25, ge=1, title="Checkpoint every … steps", description="How often the state is saved so that a crash loses little. A stop always saves.")
    keep_checkpoints: int = Field(2, ge=1, le=100, title="Checkpoints to keep", description="Older ones are deleted.")
    rollout_engine: RolloutEngine = Field("auto", title="What writes the answers (rollout engine)", description="Auto takes llama.cpp on a CPU, several times faster, after a trial has shown the same probabilities; else transformers.")
    share_prefixes: bool = Field(True, title="Compute shared words once (prefix sharing)", description="Answers to one question share it, and often their beginnings. The same result in less time; on a CPU only.")
    seed: int = Field(42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and machine give the same run on a CPU.")


class GrpoSection(_Section):
    kl_penalty: float = Field(0.0, ge=0, le=10, title="Pull to the original (KL penalty, beta)", description="Holds the model near where it started. 0 is fastest; 0.01 to 0.1 keeps it from drifting.")
    clip_range: float = Field(0.2, gt=0, le=10, title="Clip range (epsilon)", description="How far one step may change the probability of an answer.")
    clip_range_high: float | None = Field(None, gt=0, le=10, title="Upper clip range (epsilon high)", description="A larger upper limit lets rare good answers grow faster. Empty: the same as below.")
    importance_sampling_level: Literal["token", "sequence"] = Field("token", title="Method (importance sampling level)", description="'token' is GRPO; 'sequence' is GSPO, which weighs whole answers and is steadier for long ones.")
    loss_type: Literal["dapo", "grpo", "bnpo", "dr_grpo", "cispo"] = Field("dapo", title="Loss", description="How tokens of long and short answers are weighed. DAPO treats every token alike.")
    num_iterations: int = Field(1, ge=1, le=64, title="Uses of each answer (iterations)", description="How many times each batch of answers is trained on.")
    scale_rewards: Literal["group", "batch", "none"] = Field("group", title="Reward scaling", description="Divide a group's advantages by the spread of its own rewards, of the batch's, or not at all.")
    skip_constant_groups: bool = Field(True, title="Skip groups without spread", description="Where all answers to a question earned the same there is nothing to learn from it. No time is spent on such a group.")
    dynamic_sampling: bool = Field(False, title="Ask again where there is no spread (dynamic sampling)", description="Groups without spread are replaced by answers to other questions, at most three times a step. More writing, and every step teaches something.")
    mask_truncated_completions: bool = Field(False, title="Leave out cut-off answers", description="Answers that reached the length limit are not trained on.")


class RewardComponent(_Section):
    name: str = Field(min_length=1, max_length=100, description="Name of a reward, as GET /api/rewards/list gives it.")
    label: str | None = Field(None, min_length=1, max_length=60, title="Label", description="What to call this part, where the same reward is used twice. Empty for its name.")
    weight: float = Field(1.0, ge=-100, le=100, description="Its share of the sum. Negative makes it a penalty.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its own settings.")
    requires: str | None = Field(None, title="Counts only if (gate)", description="The label of another part that must be passed first: the form before correctness counts. Empty for none.")
    requires_at_least: float = Field(1.0, ge=0, le=1, title="Gate's score", description="What that other part must reach.")
    clip_low: float = Field(0.0, ge=0, le=1, title="Lowest score", description="Scores below this count as this.")
    clip_high: float = Field(1.0, ge=0, le=1, title="Highest score", description="Scores above this count as this.")

    @property
    def key(self) -> str:
        """By what it is stored and shown."""
        return self.label or self.name


class RewardSection(_Section):
    type: Literal["preset", "composite"] = Field("preset", title="Kind", description="A ready-made combination, or your own.")
    preset_name: str | None = Field(None, title="Preset", description="Which ready-made combination.")
    components: tuple[RewardComponent, ...] = Field((), title="Parts", description="Rewards and their weights.")
    normalise: bool = Field(False, title="Divide by the sum of weights (normalisation)", description="The best answer then earns 1, whatever the weights.")
    clip_low: float | None = Field(None, ge=-1000, le=1000, title="Lowest total (clipping)", description="Totals below this count as this. Empty is off.")
    clip_high: float | None = Field(None, ge=-1000, le=1000, title="Highest total (clipping)", description="Totals above this count as this. Empty is off.")
    saved_as: str | None = Field(None, max_length=100, title="Saved as", description="Name and version of the saved reward that this is a copy of, such as strict-math@3. The parts here are what counts.")

    @model_validator(mode="after")
    def _complete(self) -> RewardSection:
        if self.type == "preset" and not self.preset_name:
            raise ValueError("a preset reward needs preset_name, for example 'math'")
        if self.type == "preset" and self.components:
            raise ValueError("a preset brings its own parts; set type to 'composite' to give components")
        if self.type == "composite" and not self.components:
            raise ValueError("a combination of your own needs at least one part")
        if self.type == "composite" and self.preset_name:
            raise ValueError("preset_name belongs to type 'preset'; remove it or change the type")
        names = [part.key for part in self.components]
        if len(names) != len(set(names)):
            raise ValueError("each reward may appear once; join the two entries of the same name, or give one a label")
        self._check_gates(names)
        if self.clip_low is not None and self.clip_high is not None and self.clip_low >= self.clip_high:
            raise ValueError("clip_low must be below clip_high, or every answer would be worth the same")
        if self.components and not any(part.weight for part in self.components):
            raise ValueError("all weights are 0, so every answer would be worth the same; give one part a weight")
        return self

    def _check_gates(self, names: list[str]) -> None:
        gates = {part.key: part.requires for part in self.components if part.requires}
        for name, gate in gates.items():
            if gate not in names or gate == name:
                raise ValueError(f"{name!r} requires {gate!r}, which is not the label of another part")
            if gate in gates:
                raise ValueError(f"{name!r} requires {gate!r}, which has a gate itself; a gate must be a part without one")
        for part in self.components:
            if part.clip_low >= part.clip_high:
                raise ValueError(f"clip_low of {part.key!r} must be below its clip_high")


class PreTrainingSection(_Section):
    enabled: bool = Field(False, title="Warm up first (SFT)", description="Learn from reference answers by imitation before reinforcement learning starts. Without it a small model may never hit the format, and the reward stays at 0.")
    epochs: float = Field(1, gt=0, le=100, title="Passes (epochs)", description="How often each warm-up row is used.")
    max_samples: int | None = Field(64, ge=1, title="Rows", description="How many rows to warm up on. Empty for all.")
    learning_rate: float = Field(5e-5, gt=0, le=1, title="Learning rate", description="For the warm-up phase alone.")
    batch_size: int = Field(4, ge=1, le=4096, title="Rows at once (batch size)", description="For the warm-up phase alone.")


class EvaluationSection(_Section):
    holdout_fraction: float = Field(0.1, ge=0, le=0.5, title="Share held out", description="Rows never trained on, to see whether the model learnt the task or the rows. 0 switches evaluation off.")
    max_rows: int = Field(200, ge=1, le=10_000, title="At most", description="Upper limit of rows that are scored. Which rows are held out follows from their content, so that adding rows to the dataset never moves one across.")
    split: str | None = Field(None, title="The dataset's own split", description="A split of the Hub dataset to score on, such as test, instead of a share of the rows.")
    test_fraction: float = Field(0.0, ge=0, le=0.5, title="Share kept for a test", description="Rows that this run neither trains on nor scores, for a test afterwards.")
    every_steps: int | None = Field(None, ge=1, title="Score every … steps", description="Empty: before the first step, half-way and at the end.")
    max_prompts: int = Field(32, ge=1, le=10_000, title="Rows per evaluation", description="How many held-out rows are scored each time; more is slower and steadier.")


class RunConfig(_Section):
    """A complete training configuration.

    Raises:
        InvalidConfig: By :func:`parse`, with the path of every field at fault.
    """

    name: str = Field(min_length=1, max_length=100, title="Name", description="What to call this configuration.")
    model: ModelSection
    dataset: DatasetSection
    training: TrainingSection = Field(default_factory=TrainingSection)
    grpo: GrpoSection = Field(default_factory=GrpoSection)
    reward: RewardSection
    pre_training: PreTrainingSection = Field(default_factory=PreTrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)


def cross_checks(config: RunConfig) -> list[tuple[str, str]]:
    """Combinations of fields that cannot work on any device, as (field path, what would be right)."""
    problems: list[tuple[str, str]] = []
    training = config.training
    per_step = training.batch_size * training.gradient_accumulation_steps
    group = training.num_generations
    if per_step % group:
        nearest = max(1, round(per_step / group)) * group
        problems.append((
            "training.num_generations",
            f"batch_size × gradient_accumulation_steps is {per_step}, which is not a multiple of the group "
            f"size {group}. Make it {nearest}, for example batch_size {training.batch_size} with "
            f"gradient_accumulation_steps {-(-nearest // training.batch_size)}"
            if nearest % training.batch_size == 0
            else f"batch_size × gradient_accumulation_steps is {per_step}, which is not a multiple of the group "
            f"size {group}. Make it {nearest}, for example batch_size 1 with gradient_accumulation_steps {nearest}",
        ))
    if training.max_new_tokens >= training.max_sequence_length:
        problems.append((
            "training.max_new_tokens",
            f"the longest answer ({training.max_new_tokens}) leaves no room for the question within "
            f"max_sequence_length ({training.max_sequence_length}). Lower it, or raise max_sequence_length to "
            f"at least {training.max_new_tokens + 64}",
        ))
    grpo = config.grpo
    if grpo.clip_range_high is not None and grpo.clip_range_high < grpo.clip_range:
        problems.append(("grpo.clip_range_high", f"must be at least clip_range ({grpo.clip_range}), or empty"))
    dataset = config.dataset
    problems.extend(marker_checks(dataset))
    problems.extend(_source_checks(dataset, "dataset"))
    if dataset.mix and dataset.source != "mix":
        problems.append(("dataset.source", "must be 'mix' where sources to mix are given"))
    if dataset.source == "mix" and not dataset.mix:
        problems.append(("dataset.mix", "give at least one source with its weight"))
    for place, part in enumerate(dataset.mix):
        if part.source == "mix":
            problems.append((f"dataset.mix.{place}.source", "a mixture cannot hold another one; list its sources here"))
        problems.extend(_source_checks(part, f"dataset.mix.{place}"))
    if config.evaluation.holdout_fraction + config.evaluation.test_fraction > 0.8:
        problems.append(("evaluation.test_fraction", "leaves too little to train on; lower it"))
    return problems


MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def marker_checks(dataset: DatasetSection) -> list[tuple[str, str]]:
    """Markers that could not be found again in an answer: empty, the same, or one inside another.

    The markers of the working-out may be empty, for answers without it or templates that open it themselves.
    """
    given: dict[str, str] = {name: getattr(dataset, name) for name in MARKERS}
    problems = []
    for place, (name, text) in enumerate(given.items()):
        if text and not text.strip():
            problems.append((f"dataset.{name}", "must not be white space alone"))
        elif not text and name.startswith("solution"):
            problems.append((f"dataset.{name}", "must not be empty: the answer is looked for between the two solution markers"))
        for earlier in MARKERS[:place]:
            if overlap := _overlap(given[earlier], text):
                problems.append((f"dataset.{name}", f"{overlap} {earlier} ({given[earlier]!r:.60}), so the two could not be told apart in an answer"))
                break
    return problems


def _overlap(earlier: str, text: str) -> str:
    if not earlier or not text:
        return ""
    if earlier == text:
        return "must differ from"
    return "must not be part of" if text in earlier else "must not contain" if earlier in text else ""


def _source_checks(source: SourceFields, path: str) -> list[tuple[str, str]]:
    problems = []
    if source.source == "generated:reasoning-gym" and not source.tasks:
        problems.append((f"{path}.tasks", "choose at least one task to generate"))
    if source.tasks and source.source != "generated:reasoning-gym":
        problems.append((f"{path}.source", "must be 'generated:reasoning-gym' where tasks are given"))
    if source.extraction in {"after_marker", "regex", "json_path"} and not source.extraction_pattern:
        problems.append((f"{path}.extraction_pattern", f"the rule '{source.extraction}' needs to know what to look for"))
    return problems


def parse(data: object) -> RunConfig:
    """Validate what came from a file, a form or another program.

    Args:
        data: Decoded JSON.

    Returns:
        The complete configuration, defaults filled in.

    Raises:
        InvalidConfig: With the dotted path of every field at fault and what would be right.
    """
    if not isinstance(data, dict):
        raise InvalidConfig([("config", "must be a JSON object with the sections model, dataset and reward")])
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        raise InvalidConfig([explain(item) for item in error.errors()]) from None
    problems = cross_checks(config)
    if problems:
        raise InvalidConfig(problems)
    return config


def dump(config: RunConfig) -> dict[str, Any]:
    """The configuration as JSON data, every field written out."""
    return config.model_dump(mode="json")


def dump_given(config: RunConfig) -> dict[str, Any]:
    """The configuration as it was given: only the fields that were set. Saves a file unchanged."""
    return config.model_dump(mode="json", exclude_unset=True)


_WHOLE, _NUMBER, _BOOL = "must be a whole number", "must be a number", "must be true or false"
_PLAIN = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "float_type": _NUMBER,
    "float_parsing": _NUMBER, "finite_number": "must be a finite number", "bool_type": _BOOL, "bool_parsing": _BOOL,
    "string_type": "must be text", "greater_than_equal": "must be at least {ge}", "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}", "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}", "string_too_short": "must be {min_length} or more characters long",
    "string_too_long": "must have at most {max_length} characters", "model_type": "must be an object",
    "dict_type": "must be an object", "tuple_type": "must be a list",
}  # fmt: skip
"""What pydantic finds, in plainer words than its own."""


def explain(item: Any) -> tuple[str, str]:
    """Path and plain words for one of the errors that pydantic found."""
    path = ".".join(str(part) for part in item["loc"] if not re.fullmatch(r"literal\[.*\]|tuple\[.*\]", str(part)))
    kind = item["type"]
    if kind == "extra_forbidden":
        return path, f"there is no field of this name{_suggest(path)}"
    if kind == "missing":
        return path, "this field is required"
    limits = {name: f"{value:.12g}" if isinstance(value, float) else value for name, value in item.get("ctx", {}).items()}
    message = _PLAIN.get(kind, "").format(**limits) or str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    if isinstance(given, str | int | float | bool) or given is None:
        shown = repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "…"
        return path, f"{message[:1].lower()}{message[1:]} (it is {shown})"
    return path, f"{message[:1].lower()}{message[1:]}"


def _suggest(path: str) -> str:
    from difflib import get_close_matches

    section, _, name = path.rpartition(".")
    owner: Any = RunConfig
    for part in section.split(".") if section else ():
        field = owner.model_fields.get(part) if hasattr(owner, "model_fields") else None
        owner = field.annotation if field else None
    names = list(getattr(owner, "model_fields", {}))
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(names)}" if names else ""
