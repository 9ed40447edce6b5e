"""Write requirements/*.txt: the exact version of every package that the .in files need.

The versions are those in the virtual environment, with which the tests have passed. To change
one, install it there, run the tests, then run this: ``.venv/bin/python scripts/lock.py``.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
LOCKED = {"base": (), "build": ("base",), "test": ("base",)}
"""Each list, and the lists that it excludes because they are always installed before it."""


def main() -> None:
    """Lock every list."""
    for name, before in LOCKED.items():
        known = {package for other in before for package in closure(read(other))}
        pinned = {package: version for package, version in closure(read(name)).items() if package not in known}
        lines = [f"# Made by `make lock` from {name}.in.", *(f"{p}=={v}" for p, v in sorted(pinned.items()))]
        (REQUIREMENTS / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"requirements/{name}.txt: {len(pinned)} packages")


def read(name: str) -> list[Requirement]:
    """The handwritten requirements in ``<name>.in``."""
    lines = (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Name and version of these packages and all their dependencies.

    Raises:
        SystemExit: One of them is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in wanted]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        try:
            package = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed. Install it: .venv/bin/pip install {name}") from None
        # A local version ('2.13.0+cpu') names one build; the pin must work on every machine.
        found[name] = package.version.split("+")[0]
        for wanted_extra in ["", *requirement.extras]:
            if (name, wanted_extra) not in seen:
                seen.add((name, wanted_extra))
                queue += [(Requirement(text), wanted_extra) for text in package.requires or []]
    return found


if __name__ == "__main__":
    main()
