"""The reward: a built-in one, or weighted components."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.section import Section


class RewardComponent(Section):
    name: str = Field(min_length=1, max_length=100, description="Name of a reward from GET /api/rewards/list.")
    label: str | None = Field(None, min_length=1, max_length=60, title="Label", description="Shown in charts and results. Required if you use the same component twice.")
    weight: float = Field(1.0, ge=-100, le=100, description="Its share of the total. A negative weight is a penalty.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its own settings.")
    requires: str | None = Field(None, title="Condition", description="Label of another component that must pass first, such as the answer format. Leave empty for none.")
    requires_at_least: float = Field(1.0, ge=0, le=1, title="Passing score", description="The score the other component must reach.")
    clip_low: float = Field(0.0, ge=0, le=1, title="Minimum score", description="Lower scores are raised to this value.")
    clip_high: float = Field(1.0, ge=0, le=1, title="Maximum score", description="Higher scores are lowered to this value.")

    @property
    def key(self) -> str:
        """The name it is stored and shown under."""
        return self.label or self.name


class RewardSection(Section):
    type: Literal["preset", "composite"] = Field("preset", title="Reward type", description="A built-in reward, or a custom one.")
    preset_name: str | None = Field(None, title="Built-in reward", description="Name of the built-in reward.")
    components: tuple[RewardComponent, ...] = Field((), title="Components", description="Rewards and their weights.")
    normalise: bool = Field(False, title="Normalize by total weight", description="The best possible answer scores 1, whatever the weights are.")
    clip_low: float | None = Field(None, ge=-1000, le=1000, title="Minimum total", description="Lower totals are raised to this value. Leave empty for no minimum.")
    clip_high: float | None = Field(None, ge=-1000, le=1000, title="Maximum total", description="Higher totals are lowered to this value. Leave empty for no maximum.")
    saved_as: str | None = Field(None, max_length=100, title="Saved as", description="Name and version of the saved reward that this was copied from, such as strict-math@3. The components here are used.")

    @model_validator(mode="after")
    def _complete(self) -> RewardSection:
        if self.type == "preset" and not self.preset_name:
            raise ValueError("choose a built-in reward: preset_name is missing, for example 'math'")
        if self.type == "preset" and self.components:
            raise ValueError("a built-in reward has its own components; set type to 'composite' to give others")
        if self.type == "composite" and not self.components:
            raise ValueError("a custom reward needs at least one component")
        if self.type == "composite" and self.preset_name:
            raise ValueError("preset_name belongs to type 'preset'; remove it or change the type")
        names = [part.key for part in self.components]
        if len(names) != len(set(names)):
            raise ValueError("two components have the same name; give one of them a label, or remove it")
        self._check_gates(names)
        if self.clip_low is not None and self.clip_high is not None and self.clip_low >= self.clip_high:
            raise ValueError("the minimum total (clip_low) must be below the maximum (clip_high), or every answer would score the same")
        if self.components and not any(part.weight for part in self.components):
            raise ValueError("all weights are 0, so every answer would score the same; give one component a weight")
        return self

    def _check_gates(self, names: list[str]) -> None:
        gates = {part.key: part.requires for part in self.components if part.requires}
        for name, gate in gates.items():
            if gate not in names or gate == name:
                raise ValueError(f"the condition of {name!r} is {gate!r}, which is not the label of another component")
            if gate in gates:
                raise ValueError(f"the condition of {name!r} is {gate!r}, which has a condition itself; choose a component without one")
        for part in self.components:
            if part.clip_low >= part.clip_high:
                raise ValueError(f"the minimum score (clip_low) of {part.key!r} must be below its maximum (clip_high)")


NO_REWARD = RewardSection.model_construct(type="composite", components=())
"""For methods that need no reward. It has no components, which a file cannot express."""
