"""States, numbers and times as text; the templates' filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup, escape

from core.dataset import UploadInfo
from core.log_tail import native
from core.rewards import part_title
from core.statistics import decimals

LIGHTS = {
    "queued": ("queued", "Queued"),
    "starting": ("running", "Starting"),
    "warming_up": ("running", "Warming up"),
    "training": ("running", "Training"),
    "evaluating": ("running", "Evaluating"),
    "running": ("running", "Running"),
    "stopping": ("queued", "Stopping"),
    "completed": ("completed", "Completed"),
    "stopped": ("stopped", "Stopped"),
    "failed": ("failed", "Failed"),
    "crashed": ("failed", "Crashed"),
}
"""Public state (:func:`core.job.public_state`) to color name and label, which are always shown together."""

PHASES = {"warm_up": "Warm-up", "training": "Training", "evaluation": "Held-out"}

_SPECIAL = re.compile(
    r"(&lt;\|.{1,60}?\|&gt;|&lt;/?s&gt;|\[/?INST\]|&lt;(?:bos|eos|pad|unk|start_of_turn|end_of_turn)&gt;)"
)


def light(state: str) -> str:
    """The status light's color name."""
    return LIGHTS[state][0]


def state_word(state: str) -> str:
    """The label beside the light."""
    return LIGHTS[state][1]


def phase_word(phase: str) -> str:
    """A phase's name for users."""
    return PHASES.get(phase, phase)


def file_facts(info: UploadInfo) -> str:
    """What distinguishes a dataset from another with the same name: '40 rows, today 09:56, 3f2a1b'."""
    return f"{info.rows:,} rows, {when(info.created_at).striptags()}, {info.short_hash}"


def num(value: float | None) -> str:
    """Three significant digits, or a dash if nothing was measured."""
    if value is None:
        return "–"
    size = abs(value)
    if value == int(value) and size < 1e6:
        return str(int(value))
    if size < 0.001 or size >= 1e6:
        return f"{value:.1e}"
    return decimals(value, 2 if size < 100 else 0)


def signed(value: float) -> str:
    """A number with its sign, as for an advantage."""
    return f"+{num(value)}" if value > 0 else num(value).replace("-", "\u2212")


def size(count: float) -> str:
    """Bytes in powers of 1000, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in {"B", "kB"} else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """'40 seconds', '12 minutes', '3.5 hours'."""
    if seconds < 1.5:
        return "1 second"
    if seconds < 90:
        return f"{round(seconds)} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


_ROUND = (
    *((seconds, "second") for seconds in (10, 20, 30, 40, 50)),
    *((minutes, "minute") for minutes in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)),
    *((hours, "hour") for hours in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 24, 36, 48, 72)),
    *((days, "day") for days in (4, 5, 6, 8, 10, 15, 20, 30)),
)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def span(least: float, most: float) -> str:
    """Two durations in round numbers, the first rounded down and the second up.

    >>> span(65, 170), span(35, 95), span(3700, 9000)
    ('1 to 3 minutes', '30 seconds to 2 minutes', '1 to 3 hours')
    """
    low = max((one for one in _ROUND if one[0] * _SECONDS[one[1]] <= least), key=_length, default=_ROUND[0])
    high = min((one for one in _ROUND if one[0] * _SECONDS[one[1]] >= most), key=_length, default=_ROUND[-1])
    last = f"{high[0]} {high[1]}{'' if high[0] == 1 else 's'}"
    if low == high:
        return last
    first = f"{low[0]}" if low[1] == high[1] else f"{low[0]} {low[1]}{'' if low[0] == 1 else 's'}"
    return f"{first} to {last}"


def _length(one: tuple[float, str]) -> float:
    return one[0] * _SECONDS[one[1]]


def seconds_between(begun: str | None, ended: str | None) -> float | None:
    """Seconds between two times (ISO 8601), the second one now if it is None; None if unknown."""
    try:
        first = datetime.fromisoformat(begun or "")
        last = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
        return max(0.0, (last - first).total_seconds())
    except (ValueError, TypeError):
        return None


def when(moment: str) -> Markup:
    """A time in the server's time zone, without the year if it is the current one."""
    try:
        local = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return Markup("{}").format(moment)
    today = datetime.now().astimezone()
    if local.date() == today.date():
        text = f"today {local:%H:%M}"
    else:
        text = f"{local:%b} {local.day}, " + (f"{local:%Y}" if local.year != today.year else f"{local:%H:%M}")
    return Markup('<time datetime="{}">{}</time>').format(moment, text)


def columns_needed(names: Sequence[str]) -> str:
    """The mapped columns a reward needs: 'an answer column', 'the columns entry_point, sizes'."""
    others = [name for name in names if name != "response"]
    named = f"the column{'' if len(others) == 1 else 's'} {', '.join(others)}" if others else ""
    return " and ".join(filter(None, ("an answer column" if "response" in names else "", named)))


def special(text: str) -> Markup:
    """Text with the model's special tokens set apart."""
    return Markup(_SPECIAL.sub(r'<span class="special">\1</span>', str(escape(text))))  # noqa: S704 (escaped first)


FILTERS = {
    "part_title": part_title,
    "light": light,
    "state_word": state_word,
    "phase_word": phase_word,
    "num": num,
    "signed": signed,
    "bytes": size,
    "when": when,
    "special": special,
    "columns_needed": columns_needed,
    "native": native,
}
