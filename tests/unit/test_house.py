"""House rules: files and functions stay small, and things that belong together share a name.

The lists below have the current exceptions to each rule, with the reason or the excess. A test fails if an entry is
no longer needed, so the lists only get shorter.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core.methods import METHODS
from core.settings import PROJECT

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_CHARACTERS = 120

LONG_FILES = {
    "core/data/known_datasets.py": "a table of known datasets",
    "core/data/reading.py": "the readers of all formats, which share one loop over the file",
    "core/evaluation.py": "the statistics of answer pairs, and their sentences, which could move out",
    "core/readiness.py": "one list of checks, in display order",
    "core/rewards/code.py": "finding, running and scoring programs; parsing the rows' tests could move out",
    "core/rewards/sandbox/guest.py": "sent into the sandbox as one file, which cannot import our code",
    "core/job_dir.py": "the names of all files of a job; reading and writing JSON could move out",
    "tests/sandbox/attempts.py": "a table of escape attempts",
    "tests/training/test_arguments.py": "one case per setting",
    "tests/unit/core/data/test_conversations.py": "one case per conversation format",
}
LONG_FUNCTIONS = {
    "core/data/ingest.py:ingest": "the stages of an import, in order",
    "services/container.py:build": "the wiring, one service after another",
    "scripts/bench_time_to_reward.py:side": "one measurement, top to bottom",
    "tests/browser/sample.py:_series": "the rows of a made-up run",
}
ELSEWHERE = {
    "models/serve.html": "routes/openai_api.py:show",
    "probe/show.html": "routes/probe.py:page_of",
}
"""Templates rendered by a function of another name or file."""
WITHOUT_A_TEMPLATE = {
    "pages/documents.py": "Markdown as HTML, for the help",
    "pages/glossary.py": "the terms, for every page's pop-overs",
    "pages/palette.py": "the command palette, which is JSON",
    "pages/parts.py": "shared by several pages",
    "pages/shell.py": "the layout of every page",
    "pages/exports/deliveries.py": "a part of exports/show.html, under templates/deliveries/",
    "pages/models/chats.py": "a part of models/playground.html",
    "pages/runs/actions.py": "the buttons of runs/show.html",
    "pages/runs/address.py": "the parameters of a run's address",
    "pages/runs/spark.py": "the sparklines of lists and tiles",
    "pages/wizard/dataset_choice.py": "a part of wizard/dataset.html",
    "pages/wizard/frame.py": "the layout of every step",
    "pages/wizard/groups.py": "a part of wizard/configuration.html",
    "pages/wizard/trial.py": "a part of wizard/reward.html",
}
"""Modules in pages/ that are not pages."""
BUILT_ELSEWHERE = {
    "auth/login.html": "routes/auth.py: only a form",
    "configs/index.html": "pages/configs.py",
    "datasets/preparing.html": "pages/datasets/show.py",
    "errors/answer.html": "routes/errors.py: must work when nothing else does",
    "help/glossary.html": "pages/help.py",
    "help/index.html": "pages/help.py",
    "help/report.html": "pages/help.py",
    "help/show.html": "pages/help.py",
    "help/shortcuts.html": "pages/help.py",
    "help/whats_new.html": "pages/help.py",
    "home/index.html": "pages/home.py",
    "probe/show.html": "pages/probe.py",
    "system/settings.html": "pages/settings.py",
}
"""Pages whose module is not pages/<noun>/<verb>.py, and where it is."""
HELPERS_OF_METHODS = {
    "core/methods/by_rows.py": "shared by methods that read every row once in a pass",
    "core/methods/method.py": "the type",
    "core/training/methods/answers.py": "rated answers in tokens, and their order",
    "core/training/methods/examples.py": "rows with a reference answer as training examples",
    "core/training/methods/held_out_pairs.py": "the measure of methods that learn from pairs",
    "core/training/methods/loop.py": "the plain loop",
    "core/training/methods/packing.py": "several rows in one sequence",
    "core/training/methods/pairs.py": "pairs of a better and a worse answer in tokens",
    "core/training/methods/sft_rows.py": "tokens and weights for supervised fine-tuning",
    "core/training/methods/score_report.py": "the report on a reward model",
    "core/training/methods/training_job.py": "the input of every method",
    "core/training/methods/trl.py": "shared by all TRL trainers",
    "core/training/methods/warm_up.py": "supervised steps before another method",
    "core/training/methods/weighted_loss.py": "cross-entropy with a weight for each token",
}
"""Files next to the methods that are not methods."""
SHARED_SCRIPTS = {
    "app.js": "base.html",
    "wizard_step.js": "wizard/configuration.html",
}
"""Scripts of several pages, with a template that loads them."""


@cache
def tracked(*suffixes: str) -> tuple[Path, ...]:
    """Every tracked or new file with one of these suffixes, by its path in the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(Path(name) for name in sorted(set(names)) if name.endswith(suffixes) and (PROJECT / name).is_file())


def lines(file: Path) -> list[str]:
    return (PROJECT / file).read_text(encoding="utf-8").splitlines()


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a Python file, including nested ones and methods."""
    for node in ast.walk(ast.parse((PROJECT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_has_the_marks_of_a_conflict() -> None:
    """What a merge left behind would be read as text in a document."""
    marks = ("<" * 7 + " ", "|" * 7 + " ", ">" * 7 + " ")
    named = (".py", ".md", ".html", ".css", ".js", ".json", ".toml", ".yml")
    assert [f"{file}" for file in tracked(*named) if any(line.startswith(marks) for line in lines(file))] == []


def test_no_python_file_is_too_long() -> None:
    """Files over 400 lines are split, or listed above with the reason."""
    long = {str(file): len(lines(file)) for file in tracked(".py") if len(lines(file)) > MOST_LINES}
    assert {name: length for name, length in long.items() if name not in LONG_FILES} == {}
    assert LONG_FILES.keys() - long.keys() == set(), "no longer too long: take them out of LONG_FILES"


def test_no_function_is_too_long() -> None:
    """Functions over 60 lines should be several."""
    long = {
        f"{file}:{node.name}": length
        for file in tracked(".py")
        for node in functions(file)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert {name: length for name, length in long.items() if name not in LONG_FUNCTIONS} == {}
    assert LONG_FUNCTIONS.keys() - long.keys() == set(), "no longer too long: take them out of LONG_FUNCTIONS"


def test_no_line_of_a_page_is_too_long() -> None:
    """Templates, styles and scripts have the same limit as Python. (ruff checks Python.)"""
    long = [
        f"{file}:{number}: {len(line)}"
        for file in tracked(".html", ".css", ".js")
        for number, line in enumerate(lines(file), start=1)
        if len(line) > MOST_CHARACTERS
    ]
    assert long == []


@cache
def rendered() -> frozenset[tuple[str, str]]:
    """Each template that a route names, with that function, as ``routes/runs.py:show``."""
    return frozenset(
        (node.value, f"{file}:{function.name}")
        for file in tracked(".py")
        if file.parts[0] == "routes"
        for function in functions(file)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".html")
    )


def pages() -> list[str]:
    """Templates that are pages: in a folder, and without the underscore of partials."""
    names = [file.relative_to("templates") for file in tracked(".html") if file.parts[0] == "templates"]
    return [name.as_posix() for name in names if len(name.parts) == 2 and not name.name.startswith("_")]


@pytest.mark.parametrize("template", pages())
def test_a_template_has_the_name_of_the_function_that_renders_it(template: str) -> None:
    """``templates/runs/show.html`` is rendered by ``show`` in ``routes/runs.py``; others may render it, too."""
    noun, verb = Path(template).with_suffix("").parts
    by = {function for name, function in rendered() if name == template}
    namesake = f"routes/{noun}.py:{verb}"
    if template in ELSEWHERE:
        assert ELSEWHERE[template] in by
        assert namesake not in by, "it has its namesake now: take it out of ELSEWHERE"
    else:
        assert namesake in by


def test_every_template_is_used() -> None:
    """Each is rendered by a route, or extended, included or imported by a template."""
    named = {name for name, _ in rendered()}
    for file in tracked(".html"):
        named |= set(re.findall(r'"([\w/]+\.html)"', "\n".join(lines(file))))
    names = {file.relative_to("templates").as_posix() for file in tracked(".html") if file.parts[0] == "templates"}
    assert names - named == set()


def test_a_script_has_the_name_of_its_page() -> None:
    """``static/js/runs_show.js`` is loaded by ``templates/runs/show.html``; other pages may load it, too."""
    loads = {
        file.relative_to("templates").as_posix(): set(re.findall(r"filename='js/([\w]+\.js)'", "\n".join(lines(file))))
        for file in tracked(".html")
        if file.parts[0] == "templates"
    }
    scripts = {file.name for file in tracked(".js") if file.parent.as_posix() == "static/js"}
    for script in sorted(scripts):
        page = SHARED_SCRIPTS.get(script) or script.replace("_", "/", 1).replace(".js", ".html")
        assert script in loads.get(page, set()), f"{page} does not load {script}"
    assert SHARED_SCRIPTS.keys() - scripts == set()


def modules_of(folder: str) -> set[str]:
    """Python files below a folder, by their path in the project, without ``__init__.py``."""
    return {file.as_posix() for file in tracked(".py") if file.is_relative_to(folder) and file.stem != "__init__"}


def test_a_page_has_the_name_of_its_template() -> None:
    """``pages/runs/show.py`` builds the context of ``templates/runs/show.html`` or the partial ``_show.html``."""
    templates = {file.relative_to("templates").as_posix() for file in tracked(".html") if file.parts[0] == "templates"}
    modules = modules_of("pages")
    named = set()
    for module in modules:
        noun, verb = Path(module).relative_to("pages").parent, Path(module).stem
        if {(noun / f"{verb}.html").as_posix(), (noun / f"_{verb}.html").as_posix()} & templates:
            named.add(module)
    others = {place.partition(":")[0] for place in BUILT_ELSEWHERE.values()}
    assert modules - named - others == WITHOUT_A_TEMPLATE.keys()


def test_a_template_has_the_name_of_its_page() -> None:
    """The reverse: a template's name tells which file its values come from."""
    modules = modules_of("pages")
    without = {page for page in pages() if f"pages/{page.removesuffix('.html')}.py" not in modules}
    assert without == BUILT_ELSEWHERE.keys()
    assert all((PROJECT / place.partition(":")[0]).is_file() for place in BUILT_ELSEWHERE.values())


def test_a_method_has_both_halves() -> None:
    """``core/methods/<key>.py`` describes a method, ``core/training/methods/<key>.py`` trains it; no third file."""
    halves = [modules_of(folder) - HELPERS_OF_METHODS.keys() for folder in ("core/methods", "core/training/methods")]
    declared, trained = ({Path(module).stem for module in half} for half in halves)
    assert declared == trained == {one.key for one in METHODS}
    assert all((PROJECT / name).is_file() for name in HELPERS_OF_METHODS), "gone: take it out of HELPERS_OF_METHODS"


def exists(module: str, name: str) -> bool:
    """Whether ``from module import name`` works: the module is a file, or a folder with that name."""
    place = PROJECT.joinpath(*module.split("."))
    if place.with_suffix(".py").is_file() or (place / f"{name}.py").is_file() or (place / name).is_dir():
        return True
    own = place / "__init__.py"
    return own.is_file() and name in own.read_text("utf-8")


def test_an_import_inside_a_string_finds_its_module() -> None:
    """Scripts for another Python process are strings: neither mypy nor a refactoring checks them."""
    pattern = re.compile(r"\bfrom ((?:core|services|pages|routes|commands)\.[\w.]+) import (\w+)")
    lost = [
        f"{file}:{number}: {module}.{name}"
        for file in tracked(".py")
        for number, line in enumerate(lines(file), start=1)
        for module, name in pattern.findall(line)
        if not exists(module, name)
    ]
    assert lost == []


def test_no_module_counts_the_folders_above_it() -> None:
    """They would break when moved: use :data:`core.settings.PROJECT` and core/run_child.py."""
    counting = {
        file.as_posix()
        for file in tracked(".py")
        if file.parts[0] in {"core", "services", "pages", "routes", "websockets", "commands"}
        if re.search(r"\.parents\[|\.parent\.parent\b.*__file__|__file__.*\.parent\.parent\b", "\n".join(lines(file)))
    }
    assert counting == {"core/settings.py", "core/run_child.py", "core/training/__main__.py"}
