"""Assigns slots to jobs, which limit how many run at a time, and where."""

from __future__ import annotations

from collections.abc import Mapping


class Slots:
    """The slots of every launcher and the jobs that hold them. Not thread-safe.

    A job keeps its slot until its worker is gone: after its final status it still holds the memory.

    Args:
        sizes: Number of slots by launcher name.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._holders: dict[str, dict[int, str]] = {name: {} for name in sizes}

    def free(self, launcher: str) -> bool:
        """Whether another job may start there; False for an unknown launcher."""
        return len(self._holders.get(launcher, ())) < self._sizes.get(launcher, 0)

    def hold(self, launcher: str, job_id: str) -> int:
        """Give a job the lowest free slot, or the one that it already has.

        A job that is already running, because another server started it, gets one even if none is free.

        Raises:
            KeyError: There is no such launcher.
        """
        holders = self._holders[launcher]
        has = next((slot for slot, holder in holders.items() if holder == job_id), None)
        slot = next(slot for slot in range(len(holders) + 1) if slot not in holders) if has is None else has
        holders[slot] = job_id
        return slot

    def release(self, job_id: str) -> None:
        """Release a job's slot, if it has one."""
        for holders in self._holders.values():
            for slot in [slot for slot, holder in holders.items() if holder == job_id]:
                del holders[slot]
