"""What a good answer earns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.section import Section


class RewardComponent(Section):
    name: str = Field(min_length=1, max_length=100, description="Name of a reward, as GET /api/rewards/list gives it.")
    label: str | None = Field(None, min_length=1, max_length=60, title="Label", description="A name for this part, if the same reward is used twice. Leave empty to use the reward's name.")
    weight: float = Field(1.0, ge=-100, le=100, description="Its share of the total. A negative weight makes it a penalty.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its own settings.")
    requires: str | None = Field(None, title="Counts only if (gate)", description="Another part that must pass first, such as the format before correctness counts. Leave empty for none.")
    requires_at_least: float = Field(1.0, ge=0, le=1, title="Gate threshold", description="The score the other part must reach.")
    clip_low: float = Field(0.0, ge=0, le=1, title="Minimum score", description="Lower scores are raised to this.")
    clip_high: float = Field(1.0, ge=0, le=1, title="Maximum score", description="Higher scores are lowered to this.")

    @property
    def key(self) -> str:
        """By what it is stored and shown."""
        return self.label or self.name


class RewardSection(Section):
    type: Literal["preset", "composite"] = Field("preset", title="Type", description="A ready-made combination, or your own.")
    preset_name: str | None = Field(None, title="Preset", description="Which ready-made combination.")
    components: tuple[RewardComponent, ...] = Field((), title="Parts", description="Rewards and their weights.")
    normalise: bool = Field(False, title="Normalize", description="Divide by the sum of weights, so that the best answer always scores 1.")
    clip_low: float | None = Field(None, ge=-1000, le=1000, title="Minimum total", description="Lower totals are raised to this. Leave empty to turn it off.")
    clip_high: float | None = Field(None, ge=-1000, le=1000, title="Maximum total", description="Higher totals are lowered to this. Leave empty to turn it off.")
    saved_as: str | None = Field(None, max_length=100, title="Saved as", description="Name and version of the saved reward this was copied from, such as strict-math@3. Only the parts listed here have an effect.")

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


NO_REWARD = RewardSection.model_construct(type="composite", components=())
"""What stands in a configuration whose method needs no reward: one without parts, which a file cannot hold."""
