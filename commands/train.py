"""``flask --app flask_app train configs/x.json``: start a run and follow it in the terminal."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from flask import Blueprint

from commands._home import home, server_or_watch
from core.errors import Conflict, InvalidInput, TunesmithError, Unavailable
from core.job import ENDED, JobState
from core.job_rows import MetricRow, measure
from core.metric import Better, Metric, Unit
from core.metrics import METRICS
from services.container import Services
from services.current import services
from services.runs.series import headline
from services.wizard.configs import check

if TYPE_CHECKING:
    import httpx

bp = Blueprint("train", __name__, cli_group=None)

EVERY = 0.3
"""Seconds between polls."""
WIDTH = 24


@bp.cli.command("train")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--confirm-reward", is_flag=True, help="Start even if the reward has loopholes or could not be tested.")
def train(file: Path, *, confirm_reward: bool) -> None:
    """Start a run from the preset FILE, and follow it in the terminal.

    The run also appears in the browser. Press Ctrl+C once to stop and save a checkpoint, twice to stop immediately.
    If the reward has loopholes, confirm with --confirm-reward.
    """
    with home() as lock:
        config = read_config(file)
        url = server_or_watch(lock)
        run = (
            There(url, services().settings.token, confirmed=confirm_reward)
            if url
            else Here(services(), confirmed=confirm_reward)
        )
        say_readiness(run.readiness(config), click.echo)
        sys.exit(follow(run, config, click.echo, live=sys.stdout.isatty()))


def read_config(file: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        InvalidInput: It is not valid JSON. The message names the line.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{file} is not valid JSON: line {error.lineno}, {error.msg}.") from None
    return data


class Run(Protocol):
    """The operations needed to follow a run, in this process or through a server."""

    def start(self, config: dict[str, Any]) -> str: ...

    def look(self, session_id: str) -> dict[str, Any]: ...

    def rows(self, session_id: str, after: int) -> tuple[list[MetricRow], int]: ...

    def stop(self, session_id: str, *, now: bool) -> None: ...

    def verdict(self, session_id: str) -> str: ...


class Here:
    """Trains in this process, which runs the watcher itself.

    Args:
        services: This installation's services.
        confirmed: Whether to start even if the reward has loopholes.
    """

    def __init__(self, services: Services, *, confirmed: bool) -> None:
        self._runs, self._preflight = services.runs, services.preflight
        self._confirmed = confirmed

    def readiness(self, config: dict[str, Any]) -> dict[str, Any]:
        return self._preflight.look(check(config)).json()

    def start(self, config: dict[str, Any]) -> str:
        self._preflight.admit(self._runs.check_start(config), self._confirmed)
        return self._runs.start(config).session_id

    def look(self, session_id: str) -> dict[str, Any]:
        return self._runs.get(session_id).json()

    def rows(self, session_id: str, after: int) -> tuple[list[MetricRow], int]:
        return self._runs.metrics(session_id, after)

    def stop(self, session_id: str, *, now: bool) -> None:
        self._runs.stop(session_id, now=now)

    def verdict(self, session_id: str) -> str:
        return self._runs.verdict(self._runs.get(session_id)).headline


class There:
    """Submits the run to a server that already holds the home folder.

    Args:
        url: The server's address, from the lock file.
        token: The access token, if the server requires a login.
        confirmed: Whether to start even if the reward has loopholes.
    """

    def __init__(self, url: str, token: str, *, confirmed: bool) -> None:
        self._url, self._confirmed = url, confirmed
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def readiness(self, config: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "/api/training/check", config, timeout=180)

    def start(self, config: dict[str, Any]) -> str:
        body = {"config": config, "confirm_reward": self._confirmed}
        return str(self._call("POST", "/api/training/start", body, timeout=180)["session_id"])

    def look(self, session_id: str) -> dict[str, Any]:
        return self._call("GET", f"/api/training/sessions/{session_id}")

    def rows(self, session_id: str, after: int) -> tuple[list[MetricRow], int]:
        answer = self._call("GET", f"/api/training/sessions/{session_id}/metrics?after={after}")
        return answer["rows"], answer["next"]

    def stop(self, session_id: str, *, now: bool) -> None:
        self._call("POST", "/api/training/stop", {"session_id": session_id, "now": now})

    def verdict(self, session_id: str) -> str:
        return str(self._call("GET", f"/api/training/sessions/{session_id}/verdict")["headline"])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 30) -> dict[str, Any]:
        import httpx

        # Not json=body, which raises on NaN: the server rejects it with a message.
        data = json.dumps(body) if body is not None else None
        try:
            answer = httpx.request(method, self._url + path, content=data, headers=self._headers, timeout=timeout)
        except httpx.TransportError as error:
            raise Unavailable(f"The server at {self._url} is not responding: {error}.") from None
        if answer.is_error:
            raise _refusal(answer)
        found: dict[str, Any] = answer.json()
        return found


def _refusal(answer: httpx.Response) -> TunesmithError:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {answer.status_code}."
    if answer.status_code == 401:
        message += " Set TUNESMITH_TOKEN to the server's access token."
    return InvalidInput(message)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Count Ctrl+C presses instead of raising KeyboardInterrupt, which could interrupt any line."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def follow(run: Run, config: dict[str, Any], say: Callable[..., None], *, live: bool) -> int:
    """Start a run and follow it to its end. Ctrl+C stops it: once with a checkpoint, twice immediately.

    Args:
        run: This process, or a server.
        config: The configuration.
        say: Prints; takes ``nl=False``.
        live: Whether the output is a terminal, where the progress line is redrawn.

    Returns:
        Exit code: 0 for completed, 3 for stopped, 1 otherwise.
    """
    session_id = run.start(config)
    say(f"Run {session_id}")
    screen = Screen(say, live=live)
    asked, after = 0, 0
    with interrupts() as pressed:
        while True:
            view = run.look(session_id)
            rows, after = run.rows(session_id, after)
            screen.show(view, rows)
            if view["status"] in ENDED:
                break
            time.sleep(EVERY)
            if len(pressed) > asked:
                asked += 1
                if asked > 2:
                    say("\nDetached. The run continues; follow it in the browser.")
                    return 1
                say(
                    "\nStopping after this step, with a checkpoint."
                    if asked == 1
                    else "\nStopping without a checkpoint."
                )
                _ask_to_stop(run, session_id, now=asked == 2)
    screen.close(view)
    say(f"  {run.verdict(session_id)}")
    return {JobState.COMPLETED: 0, JobState.STOPPED: 3}.get(JobState(view["status"]), 1)


def say_readiness(found: dict[str, Any], say: Callable[..., None]) -> None:
    """Print the readiness problems that the pages show, with their field paths."""
    say({"ready": "Ready.", "ready_but": "Ready, but:"}.get(found["state"], "Not ready:"))
    for problem in found["problems"]:
        say(f"  {problem['severity']:<6}  {problem['field']}: {problem['message']}")


def _ask_to_stop(run: Run, session_id: str, *, now: bool) -> None:
    try:
        run.stop(session_id, now=now)
    except Conflict:
        return


class Screen:
    """Draws the progress line, or prints a line per change if the output is not a terminal."""

    def __init__(self, say: Callable[..., None], *, live: bool) -> None:
        self._say = say
        self._live = live
        self._shown = ""
        self._training: list[MetricRow] = []
        self._latest = ""
        self._began = time.monotonic()

    def show(self, view: dict[str, Any], rows: Sequence[MetricRow]) -> None:
        self._training += [row for row in rows if row.get("phase") == "training"]
        lead, values = _course(rows)
        if lead and values:
            self._latest = f"{lead.term} {values[-1]:.3f}"
        line = self._line(view)
        if self._live:
            self._say("\r" + line.ljust(len(self._shown)), nl=False)
        elif line != self._shown:
            self._say(line)
        self._shown = line

    def _line(self, view: dict[str, Any]) -> str:
        done, of = view["step"], view["max_steps"]
        words = view["status"].replace("_", " ")
        if view["queue_position"]:
            return f"queued, position {view['queue_position']}"
        if not of:
            return f"{words}: {view['message']}".rstrip(": ")
        filled = round(WIDTH * min(done, of) / of)
        parts = [f"{words:<11} [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{of}"]
        if self._latest:
            parts.append(self._latest)
        if view["eta_seconds"]:
            parts.append(f"about {_duration(view['eta_seconds'])} left")
        return "  ".join(parts)

    def close(self, view: dict[str, Any]) -> None:
        """Print the summary."""
        if self._live:
            self._say("")
        lead, values = _course(self._training)
        tenth = max(1, len(values) // 10)
        rows = [
            ("Run", view["session_id"]),
            ("Status", view["status"]),
            ("Steps", f"{view['step']} of {view['max_steps']}"),
            ("Time", _duration(time.monotonic() - self._began)),
        ]
        if lead and values:
            first, last = sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth
            rows.append((f"{lead.title} in training, first to last", f"{first:.3f} to {last:.3f}"))
        rows += _held_out(view["evaluations"])
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._say(f"  {name:<{width}}  {value}")
        for note in view["notes"]:
            self._say(f"  Note: {note}")
        if view["error"]:
            self._say(f"  {view['error']}")


def _course(rows: Sequence[MetricRow]) -> tuple[Metric | None, list[float]]:
    """Return the run's main metric and its values."""
    lead = headline(rows)
    trained = [row for row in rows if row.get("phase") == "training"]
    return lead, [value for row in trained if lead and (value := measure(row, lead.key)) is not None]


def _held_out(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Format the metrics on held-out rows, first and last evaluation."""
    measured = [one for one in METRICS if one.line.held_out and one.better is not Better.NEITHER]
    return [
        (f"{one.title} on held-out rows", f"{_written(one, rows[0][one.key])} to {_written(one, rows[-1][one.key])}")
        for one in measured
        if rows and one.key in rows[0] and one.key in rows[-1]
    ]


def _written(one: Metric, value: float) -> str:
    return f"{value:.0%}" if one.unit is Unit.SHARE else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
