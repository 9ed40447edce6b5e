"""The configuration file: one frozen pydantic model per section, one file per section.

The format is public. A field's name and meaning never change, and new fields are optional with a default, so that
files from older versions still load. The Settings step shows the titles and descriptions from here: the title is the
usual term, the description explains it in plain words. :func:`core.section.usual` sets the range that suits most runs.
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
from core.config.model import LORA_TARGETS, ModelSection, adapter_fields
from core.config.pre_training import PreTrainingSection
from core.config.reward import NO_REWARD, RewardComponent, RewardSection
from core.config.run_config import SECTIONS, RunConfig, cross_checks, dump, dump_given, explain, parse, prompted
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
    "adapter_fields",
    "cross_checks",
    "dump",
    "dump_given",
    "explain",
    "marker_checks",
    "parse",
    "prompted",
]
