"""What a good answer earns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.section import Section


class RewardComponent(Section):
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


class RewardSection(Section):
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


NO_REWARD = RewardSection.model_construct(type="composite", components=())
"""What stands in a configuration whose method needs no reward: one without parts, which a file cannot hold."""
