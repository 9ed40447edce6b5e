"""Dataset fields that give rows the shape that a method learns from."""

from __future__ import annotations

from core.dataset import Shape

FIELDS: dict[Shape, dict[str, str]] = {
    Shape.EXAMPLES: {},
    Shape.PAIRS: {"chosen_field": "better", "rejected_field": "worse"},
    Shape.RATINGS: {"label_field": "good"},
}
