"""The glossary: each term of the field, explained once, for every pop-over and for the help page.

The usual term comes first, then its explanation in plain words. Metrics are explained where they are declared, in
:mod:`core.metrics`; this file has the other terms.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.metrics import METRICS


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes:
        key: Name used in templates.
        term: The field's usual term, as a heading.
        text: One to three sentences in plain words.
        better: 'higher is better', 'lower is better' or ''.
        healthy: Which values are fine, in words; '' if there is no such range.
    """

    key: str
    term: str
    text: str
    better: str = ""
    healthy: str = ""

    @property
    def reading(self) -> str:
        """How to read its values, as a sentence; '' if there is nothing to say."""
        said = "; ".join(filter(None, (self.better, self.healthy)))
        return f"{said[:1].upper()}{said[1:]}." if said else ""


_TERMS = (
    Term("heldout", "Held-out evaluation",
         "Some rows are set aside before training and used only to measure. They show whether the model learned the task or just memorized the training rows.",
         "higher is better", "should rise with the training reward; a growing gap means memorization"),
    Term("kl_penalty", "KL penalty (beta)",
         "Keeps the model close to where it started. Higher is safer but slower."),
    Term("completion", "Completion",
         "An answer that the model wrote: the text after the prompt, up to the length limit."),
    Term("advantage", "Advantage",
         "How an answer's score compares with the other answers to the same question. Above 0, such answers become more likely; below 0, less likely."),
    Term("group", "Group",
         "All answers to one question in a step. They are scored against each other."),
    Term("adapter", "Adapter (LoRA)",
         "A small set of extra weights that training changes; the base model stays as it is. An adapter takes a few megabytes and can be merged into the model later."),
    Term("full_fine_tuning", "Full fine-tuning",
         "Training every weight of the model instead of an adapter. It can learn more, forgets more easily, and takes several times the memory."),
    Term("lora_rank", "LoRA rank",
         "The size of the adapter, and so how much it can learn. 8 to 32 is enough for most tasks."),
    Term("warm_up", "Warm-up (SFT)",
         "A short first phase in which the model learns from example answers, so that it knows the answer format before it is rewarded for it."),
    Term("grpo", "GRPO",
         "Group relative policy optimization. The model answers each question several times, and answers that score above the group's average become more likely."),
    Term("gspo", "GSPO",
         "Group sequence policy optimization. A variant of GRPO that weights each answer as a whole instead of token by token; more stable for long answers."),
    Term("token", "Token",
         "The unit that models read and write. One English word is about 1.3 tokens."),
    Term("checkpoint", "Checkpoint",
         "A saved state that a run can resume from exactly: trained weights, optimizer, random state, and position in the data."),
    Term("quantization", "Quantization",
         "Stores each weight in fewer bits. The file gets smaller and the answers change slightly; how much depends on the model."),
    Term("gguf", "GGUF",
         "A single file with the model, its tokenizer, and its chat template, for Ollama, llama.cpp, and LM Studio."),
    Term("modelfile", "Modelfile",
         "Tells Ollama which GGUF file, chat template, and stop tokens to use, so the model gets its prompts in the format it was trained on."),
    Term("temperature", "Temperature",
         "How random the choice of the next token is. 0 always takes the most likely token, 1 follows the model's own probabilities, higher values vary more."),
    Term("top_p", "Top-p (nucleus sampling)",
         "Samples only from the most likely tokens that together reach this probability. 1 turns it off."),
    Term("system_prompt", "System prompt",
         "Instructions placed before every question, during training and afterwards."),
    Term("markers", "Answer tags",
         "Fixed strings that the model is asked to put around its reasoning and its final answer, so that a reward can find them."),
    Term("special_tokens", "Special tokens",
         "Tokens that are control signals instead of text, such as the end of a turn. They are part of what the model sees."),
    Term("reference", "Reference answer",
         "The correct answer from your dataset. Rewards compare the model's answer with it."),
    Term("judge", "Judge (reward model)",
         "Another model that scores answers: an API endpoint, or a classifier on this machine. It adds time to each step, and cost if the endpoint charges for requests."),
)


def _of_metrics() -> dict[str, Term]:
    return {
        one.key: Term(one.key, one.title, f"{one.plain}. {one.text}", one.better.words, one.healthy)
        for one in METRICS if one.text
    }


GLOSSARY: dict[str, Term] = {**_of_metrics(), **{term.key: term for term in _TERMS}}
"""Every term by its key, in the order of the help page: metrics first."""
