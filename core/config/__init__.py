"""The configuration file: one frozen pydantic model per section, one file per section.

The format is the product's public face. A field keeps its name and meaning permanently; new ones are
optional and have a default, so that a file written by an older version still loads. Titles and
descriptions here are what the settings step shows: the usual term is the title, its plain explanation
the description. :func:`core.section.usual` gives the range that suits most runs.
"""

from core.config.dataset import (
    DEFAULT_SYSTEM_PROMPT,
    MARKERS,
    DatasetSection,
    GeneratedTask,
    MixSource,
    SourceFields,
    marker_checks,
)
from core.config.evaluation import EvaluationSection
from core.config.model import LORA_TARGETS, ModelSection
from core.config.pre_training import PreTrainingSection
from core.config.reward import NO_REWARD, RewardComponent, RewardSection
from core.config.run_config import SECTIONS, RunConfig, cross_checks, dump, dump_given, explain, parse
from core.config.training import GPU_OPTIMIZERS, RolloutEngine, TrainingSection

__all__ = [
    "DEFAULT_SYSTEM_PROMPT",
    "GPU_OPTIMIZERS",
    "LORA_TARGETS",
    "MARKERS",
    "NO_REWARD",
    "SECTIONS",
    "DatasetSection",
    "EvaluationSection",
    "GeneratedTask",
    "MixSource",
    "ModelSection",
    "PreTrainingSection",
    "RewardComponent",
    "RewardSection",
    "RolloutEngine",
    "RunConfig",
    "SourceFields",
    "TrainingSection",
    "cross_checks",
    "dump",
    "dump_given",
    "explain",
    "marker_checks",
    "parse",
]
