"""Popular datasets on Hugging Face: what each is good for and how its columns are mapped.

Sizes and licenses are from the dataset cards. A card can change, so check the license there before you publish a
model.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core.dataset import Shape

Category = Literal["math", "code", "general", "question answering", "reasoning", "preferences"]


class KnownDataset(BaseModel):
    """One entry.

    Attributes:
        path: ``owner/name`` on Hugging Face.
        rows: Rows of the split in ``mapping``.
        fields: Its columns.
        mapping: Fields of the configuration's dataset section, ready to use.
        good_for: One line: what it teaches.
        reward: Name of the preset reward that fits; empty if there is no single right answer to check.
        reward_why: One line: why, and what to watch out for.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    title: str
    category: Category
    rows: int
    licence: str
    fields: tuple[str, ...]
    mapping: dict[str, Any]
    good_for: str
    reward: str
    reward_why: str

    @property
    def watch(self) -> str:
        """Caveats about scoring it; empty if many datasets share the same sentence."""
        return "" if self.reward_why in _COMMON else self.reward_why

    @property
    def shape(self) -> Shape:
        """What its rows hold."""
        return Shape.of(self.mapping)

    @property
    def section(self) -> dict[str, Any]:
        """The dataset section of a configuration."""
        return {"source": self.path, **self.mapping}

    def matches(self, text: str, category: str = "") -> bool:
        """Whether it contains every word of a search."""
        where = f"{self.path} {self.title} {self.category} {self.good_for} {self.licence}".casefold()
        return (not category or category == self.category) and all(word in where for word in text.casefold().split())


_NUMBER = "The answer is a number and is compared exactly."
_CHOICE = "The answer is the letter of one of the choices."
_OPEN = "There is no single correct answer to check. Use it for learning from examples or for the warm-up."
_PREFERENCES = "There is no single correct answer to check. Use it for learning from preferences."
_TEX = "Answers are numbers and expressions, compared by value."
_COMMON = frozenset({_NUMBER, _CHOICE, _OPEN, _PREFERENCES, _TEX})


def _alpaca(response: str = "output") -> dict[str, Any]:
    return {
        "instruction_field": "instruction",
        "response_field": response,
        "instruction_template": "{instruction}\n\n{input}",
    }


def _pairs(question: str) -> dict[str, Any]:
    """The better answer is the answer of methods that learn from examples, too."""
    return {
        "instruction_field": question,
        "response_field": "chosen",
        "chosen_field": "chosen",
        "rejected_field": "rejected",
    }


CATALOGUE: tuple[KnownDataset, ...] = (
    KnownDataset(
        path="openai/gsm8k",
        title="GSM8K",
        category="math",
        rows=7473,
        licence="MIT",
        fields=("question", "answer"),
        mapping={
            "subset": "main",
            "instruction_field": "question",
            "response_field": "answer",
            "extraction": "after_marker",
            "extraction_pattern": "####",
        },
        good_for="Grade-school word problems solved in a few steps. The usual first choice.",
        reward="math",
        reward_why=_NUMBER,
    ),
    KnownDataset(
        path="microsoft/orca-math-word-problems-200k",
        title="Orca Math 200K",
        category="math",
        rows=200035,
        licence="MIT",
        fields=("question", "answer"),
        mapping={"instruction_field": "question", "response_field": "answer", "extraction": "last_number"},
        good_for="Many grade-school word problems with written-out solutions.",
        reward="math",
        reward_why="The answer is taken to be the last number of the written solution, which is not always right. Look at some rows.",
    ),
    KnownDataset(
        path="nvidia/OpenMathReasoning",
        title="OpenMath Reasoning",
        category="math",
        rows=3201061,
        licence="CC-BY-4.0",
        fields=(
            "expected_answer",
            "problem_type",
            "problem_source",
            "generation_model",
            "pass_rate_72b_tir",
            "problem",
            "generated_solution",
            "inference_mode",
            "used_in_kaggle",
        ),
        mapping={
            "split": "cot",
            "instruction_field": "problem",
            "response_field": "expected_answer",
            "deduplicate": "exact",
        },
        good_for="Competition problems for models that are already good at math. Very large: import only part of it.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="unsloth/OpenMathReasoning-mini",
        title="OpenMath Reasoning mini",
        category="math",
        rows=19252,
        licence="CC-BY-4.0",
        fields=(
            "expected_answer",
            "problem_type",
            "problem_source",
            "generation_model",
            "pass_rate_72b_tir",
            "problem",
            "generated_solution",
            "inference_mode",
        ),
        mapping={"split": "cot", "instruction_field": "problem", "response_field": "expected_answer"},
        good_for="A small part of OpenMath Reasoning that loads quickly.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="DigitalLearningGmbH/MATH-lighteval",
        title="MATH",
        category="math",
        rows=7500,
        licence="MIT",
        fields=("problem", "level", "solution", "type"),
        mapping={
            "subset": "default",
            "instruction_field": "problem",
            "response_field": "solution",
            "extraction": "boxed",
        },
        good_for="High-school competition problems in seven subjects and five levels, with full solutions.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="zwhe99/DeepMath-103K",
        title="DeepMath 103K",
        category="math",
        rows=103110,
        licence="MIT",
        fields=("question", "final_answer", "difficulty", "topic", "r1_solution_1", "r1_solution_2", "r1_solution_3"),
        mapping={"instruction_field": "question", "response_field": "final_answer"},
        good_for="Hard problems with checkable answers and no overlap with common test sets. 2 GB download.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="agentica-org/DeepScaleR-Preview-Dataset",
        title="DeepScaleR",
        category="math",
        rows=40315,
        licence="MIT",
        fields=("problem", "answer", "solution"),
        mapping={"instruction_field": "problem", "response_field": "answer"},
        good_for="Competition problems from several sources with short answers.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="open-r1/OpenR1-Math-220k",
        title="OpenR1 Math",
        category="math",
        rows=93733,
        licence="Apache-2.0",
        fields=(
            "problem",
            "solution",
            "answer",
            "problem_type",
            "question_type",
            "source",
            "uuid",
            "generations",
            "messages",
        ),
        mapping={"subset": "default", "instruction_field": "problem", "response_field": "answer"},
        good_for="Problems with long worked solutions written by a large model.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="AI-MO/NuminaMath-CoT",
        title="NuminaMath",
        category="math",
        rows=859494,
        licence="Apache-2.0",
        fields=("source", "problem", "solution", "messages"),
        mapping={"instruction_field": "problem", "response_field": "solution", "extraction": "boxed"},
        good_for="A very broad collection, from school to olympiad level.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="meta-math/MetaMathQA",
        title="MetaMath",
        category="math",
        rows=395000,
        licence="MIT",
        fields=("type", "query", "original_question", "response"),
        mapping={
            "instruction_field": "query",
            "response_field": "response",
            "extraction": "after_marker",
            "extraction_pattern": "The answer is:",
        },
        good_for="GSM8K and MATH problems, reworded in many ways.",
        reward="math",
        reward_why=_TEX,
    ),
    KnownDataset(
        path="sahil2801/CodeAlpaca-20k",
        title="Code Alpaca 20K",
        category="code",
        rows=20022,
        licence="CC-BY-4.0 on its dataset card; the authors' repository allows non-commercial use only",
        fields=("output", "instruction", "input"),
        mapping=_alpaca(),
        good_for="Small programming requests in several languages with one solution each.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="google-research-datasets/mbpp",
        title="MBPP",
        category="code",
        rows=374,
        licence="CC-BY-4.0",
        fields=("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list"),
        mapping={
            "subset": "full",
            "instruction_field": "text",
            "response_field": "code",
            "columns": {"tests": "test_list"},
        },
        good_for="Short Python exercises, each with three tests.",
        reward="code",
        reward_why="Programs run against each row's three tests, in the sandbox.",
    ),
    KnownDataset(
        path="openai/openai_humaneval",
        title="HumanEval",
        category="code",
        rows=164,
        licence="MIT",
        fields=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
        mapping={
            "split": "test",
            "instruction_field": "prompt",
            "response_field": "canonical_solution",
            "columns": {"tests": "test"},
        },
        good_for="Python functions to complete. A test set: use it to measure, not to train.",
        reward="code",
        reward_why="Programs run against each row's checks, in the sandbox.",
    ),
    KnownDataset(
        path="tatsu-lab/alpaca",
        title="Alpaca 52K",
        category="general",
        rows=52002,
        licence="CC-BY-NC-4.0",
        fields=("instruction", "input", "output", "text"),
        mapping=_alpaca(),
        good_for="Everyday requests with short answers. Teaches a base model to follow instructions.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="databricks/databricks-dolly-15k",
        title="Dolly 15K",
        category="general",
        rows=15011,
        licence="CC-BY-SA-3.0",
        fields=("instruction", "context", "response", "category"),
        mapping={
            "instruction_field": "instruction",
            "response_field": "response",
            "instruction_template": "{context}\n\n{instruction}",
        },
        good_for="Requests and answers written by people: summaries, questions, and ideas.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="HuggingFaceH4/no_robots",
        title="No Robots",
        category="general",
        rows=9500,
        licence="CC-BY-NC-4.0",
        fields=("prompt", "prompt_id", "messages", "category"),
        mapping={"instruction_field": "messages", "response_field": "messages"},
        good_for="High-quality conversations written by people.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="Open-Orca/SlimOrca",
        title="SlimOrca",
        category="general",
        rows=517982,
        licence="MIT",
        fields=("conversations",),
        mapping={"instruction_field": "conversations", "response_field": "conversations"},
        good_for="Many requests, answered with explanations by a large model.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="rajpurkar/squad_v2",
        title="SQuAD v2",
        category="question answering",
        rows=130319,
        licence="CC-BY-SA-4.0",
        fields=("id", "title", "context", "question", "answers"),
        mapping={
            "instruction_field": "question",
            "response_field": "answers",
            "instruction_template": "{context}\n\n{question}",
            "extraction": "json_path",
            "extraction_pattern": "text[0]",
        },
        good_for="Find the answer in a paragraph. Questions the paragraph does not answer are left out.",
        reward="question_answering",
        reward_why="The answer is a phrase from the paragraph; overlapping words earn part of the score.",
    ),
    KnownDataset(
        path="google/boolq",
        title="BoolQ",
        category="question answering",
        rows=9427,
        licence="CC-BY-SA-3.0",
        fields=("question", "answer", "passage"),
        mapping={
            "instruction_field": "question",
            "response_field": "answer",
            "instruction_template": "{passage}\n\n{question}? Answer true or false.",
        },
        good_for="True-or-false questions about a paragraph.",
        reward="short_answer",
        reward_why="The answer is 'true' or 'false', so guessing is right half the time. Compare scores on held-out rows.",
    ),
    KnownDataset(
        path="allenai/ai2_arc",
        title="ARC Challenge",
        category="question answering",
        rows=1119,
        licence="CC-BY-SA-4.0",
        fields=("id", "question", "choices", "answerKey"),
        mapping={
            "subset": "ARC-Challenge",
            "instruction_field": "question",
            "response_field": "answerKey",
            "instruction_template": "{question}\n{choices}",
        },
        good_for="School science questions with four choices.",
        reward="short_answer",
        reward_why=_CHOICE,
    ),
    KnownDataset(
        path="tau/commonsense_qa",
        title="CommonsenseQA",
        category="reasoning",
        rows=9741,
        licence="MIT",
        fields=("id", "question", "question_concept", "choices", "answerKey"),
        mapping={
            "instruction_field": "question",
            "response_field": "answerKey",
            "instruction_template": "{question}\n{choices}",
        },
        good_for="Everyday knowledge, with five choices.",
        reward="short_answer",
        reward_why=_CHOICE,
    ),
    KnownDataset(
        path="deepmind/aqua_rat",
        title="AQuA-RAT",
        category="reasoning",
        rows=97467,
        licence="Apache-2.0",
        fields=("question", "options", "rationale", "correct"),
        mapping={
            "subset": "raw",
            "instruction_field": "question",
            "response_field": "correct",
            "instruction_template": "{question}\n{options}",
        },
        good_for="Algebra word problems with five choices and a written rationale.",
        reward="short_answer",
        reward_why=_CHOICE,
    ),
    KnownDataset(
        path="TIGER-Lab/MathInstruct",
        title="MathInstruct",
        category="reasoning",
        rows=262039,
        licence="MIT",
        fields=("source", "output", "instruction"),
        mapping={"instruction_field": "instruction", "response_field": "output"},
        good_for="Math solved both in words and with programs.",
        reward="",
        reward_why=_OPEN,
    ),
    KnownDataset(
        path="HuggingFaceH4/ultrafeedback_binarized",
        title="UltraFeedback",
        category="preferences",
        rows=61135,
        licence="MIT",
        fields=("prompt", "prompt_id", "chosen", "rejected", "messages", "score_chosen", "score_rejected"),
        mapping={"split": "train_prefs", **_pairs("prompt")},
        good_for="Two answers of chat models to each request, the better one chosen by GPT-4. The usual first choice.",
        reward="",
        reward_why=_PREFERENCES,
    ),
    KnownDataset(
        path="Anthropic/hh-rlhf",
        title="HH-RLHF",
        category="preferences",
        rows=160800,
        licence="MIT",
        fields=("chosen", "rejected"),
        mapping=_pairs("chosen"),
        good_for="Conversations with two last replies; people chose the more helpful or harmless one. Some are offensive.",
        reward="",
        reward_why=_PREFERENCES,
    ),
    KnownDataset(
        path="Intel/orca_dpo_pairs",
        title="Orca DPO pairs",
        category="preferences",
        rows=12859,
        licence="Apache-2.0",
        fields=("system", "question", "chosen", "rejected"),
        mapping=_pairs("question"),
        good_for="Requests answered by a large and by a smaller model; the large model's answer counts as better.",
        reward="",
        reward_why=_PREFERENCES,
    ),
    KnownDataset(
        path="argilla/dpo-mix-7k",
        title="DPO Mix 7K",
        category="preferences",
        rows=6750,
        licence="MIT",
        fields=("dataset", "chosen", "rejected", "chosen_rating", "rejected_rating"),
        mapping=_pairs("chosen"),
        good_for="A small, carefully selected mix of three sets of pairs, with longer conversations.",
        reward="",
        reward_why=_PREFERENCES,
    ),
    KnownDataset(
        path="argilla/kto-mix-15k",
        title="KTO Mix 15K",
        category="preferences",
        rows=14549,
        licence="MIT",
        fields=("prompt", "completion", "label", "rating", "dataset"),
        mapping={"instruction_field": "prompt", "response_field": "completion", "label_field": "label"},
        good_for="Single answers, each marked as good or bad.",
        reward="",
        reward_why=_PREFERENCES,
    ),
)
BY_PATH = {known.path: known for known in CATALOGUE}


def find(text: str = "", category: str = "") -> list[KnownDataset]:
    """The entries that match a search, in catalog order."""
    return [known for known in CATALOGUE if known.matches(text, category)]
