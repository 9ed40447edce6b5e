"""The words of the field, explained once: for every popover and for the help page.

An entry is plain words first. What is measured is explained where it is declared, in :mod:`core.metrics`; here are
the other words.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.metrics import METRICS


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        key: Name used in templates.
        plain: What it is, in everyday words.
        term: What the field calls it.
        text: Two or three sentences.
        better: 'higher is better', 'lower is better' or ''.
        healthy: Which values are fine, in words; '' where there is no such range.
    """

    key: str
    plain: str
    term: str
    text: str
    better: str = ""
    healthy: str = ""


_TERMS = (
    Term("heldout", "Questions it never trained on", "held-out evaluation",
         "Some rows are set aside before training and only ever scored. They show whether the model learnt the task or only the rows.",
         "higher is better", "rising with the training reward; a growing gap means it learns the rows by heart"),
    Term("kl_penalty", "Pull to the original", "KL penalty, beta",
         "A force that holds the model near where it started. Higher is safer and slower."),
    Term("completion", "An answer the model wrote", "completion",
         "The text the model writes after the prompt, up to the length limit."),
    Term("advantage", "Better or worse than its siblings", "advantage",
         "How an answer's score compares with the other answers to the same question. Above 0 makes such answers likelier, below 0 rarer."),
    Term("group", "All answers to one question", "group",
         "The model answers each question several times; the answers are judged against each other."),
    Term("adapter", "The part that learns", "LoRA adapter",
         "A small set of extra weights beside the model's own, which stay as they were. It is a few megabytes and can be merged in later."),
    Term("lora_rank", "Adapter size", "LoRA rank",
         "How much the adapter can hold. 8 to 32 is enough for most tasks."),
    Term("warm_up", "Learning by imitation first", "warm-up, SFT",
         "A short phase in which the model copies reference answers, so that it knows the format before it is rewarded for it."),
    Term("grpo", "Learning by comparing answers", "GRPO",
         "Group relative policy optimization: the model answers a question several times, and answers that beat the group's average become likelier."),
    Term("gspo", "Comparing whole answers", "GSPO",
         "A variant of GRPO that weighs each answer as a whole instead of word by word; steadier for long answers."),
    Term("token", "A piece of a word", "token",
         "Models read and write tokens; an English word is about one and a third of them."),
    Term("checkpoint", "A saved state to go on from", "checkpoint",
         "Everything needed to continue exactly: adapter, optimizer, random state and place in the data."),
    Term("quantization", "Smaller numbers for the weights", "quantization",
         "Stores each weight in fewer bits. The file gets smaller and answers change a little; how much depends on the model."),
    Term("gguf", "One file for Ollama, llama.cpp and LM Studio", "GGUF",
         "Holds the whole model, its tokenizer and its chat template in a single file."),
    Term("modelfile", "A recipe for Ollama", "Modelfile",
         "Names the GGUF file, the chat template and the stop tokens, so that the model is asked the way it was trained."),
    Term("temperature", "Variety", "temperature",
         "0 always takes the likeliest word; 1 follows the model's own chances; higher is wilder."),
    Term("top_p", "Only the likely words", "nucleus sampling, top-p",
         "Draws only from the likeliest words that add up to this share. 1 switches it off."),
    Term("system_prompt", "What the model is told first", "system prompt",
         "Instructions that stand before every question, in training and afterwards."),
    Term("markers", "Tags around the parts of an answer", "markers",
         "Fixed strings that the model is asked to put around its working-out and its solution, so that a reward can find them."),
    Term("special_tokens", "Tokens with a meaning of their own", "special tokens",
         "Not text but signs, such as the end of a turn. They are part of what the model sees."),
    Term("reference", "The right answer", "reference answer",
         "What your dataset says the answer is. Rewards compare with it."),
    Term("judge", "Another model that scores answers", "judge, reward model",
         "An endpoint or a classifier on this machine gives an opinion on each answer. What it is asked costs time, and money where it has a price."),
)

GLOSSARY: dict[str, Term] = {
    **{one.key: Term(one.key, one.plain, one.term, one.text, one.better.words, one.healthy) for one in METRICS if one.text},
    **{term.key: term for term in _TERMS},
}
"""Every term by its key, in the order of the help page: metrics, then words."""
