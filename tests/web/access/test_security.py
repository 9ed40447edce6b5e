"""Access control."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.child import SECRETS, child_environment
from core.errors import Unavailable
from core.settings import Settings
from flask_app import create_app
from services.jobs.launcher import worker_env
from services.jobs.secrets import needed
from tests.conftest import TOKEN, Browser, tiny


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "LOCALHOST"])
def test_the_loopback_names_are_answered(client: FlaskClient, host: str) -> None:
    """Under any name that can only mean this machine."""
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:5000", "192.168.1.5:5000", "", "[::1"])
def test_another_name_for_this_server_is_refused(client: FlaskClient, host: str) -> None:
    """A page can point its own domain at 127.0.0.1 (DNS rebinding): such requests are refused."""
    response = client.get("/api/training/sessions", headers={"Host": host})
    assert response.status_code in {400, 403}
    assert "sessions" not in response.get_data(as_text=True)


def test_a_configured_name_is_answered(settings: Settings) -> None:
    """ALLOWED_HOSTS adds to the loopback names."""
    app = create_app(replace(settings, allowed_hosts=("studio.example",)))
    assert app.test_client().get("/healthz", headers={"Host": "studio.example"}).status_code == 200
    app.extensions["tunesmith"].close()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://localhost:5000.evil"]
)
@pytest.mark.parametrize("path", ["/api/training/sessions", "/socket.io/?EIO=4&transport=polling"])
def test_a_page_of_another_origin_is_refused(client: FlaskClient, origin: str, path: str) -> None:
    """For every request and for sockets; another port on this machine is also another origin."""
    response = client.get(path, headers={"Origin": origin, "Host": "localhost:5000"})
    assert response.status_code == 403
    assert (response.json or {})["error"]["code"] == "forbidden"


def test_a_form_that_another_site_sends_is_refused(client: FlaskClient) -> None:
    """Browsers that send no Origin still send Sec-Fetch-Site."""
    for site in ("cross-site", "same-site"):
        response = client.post(
            "/api/training/start",
            json={"config": tiny()},
            headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"},
        )
        assert response.status_code == 403
        image = client.get("/api/training/sessions", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert image.status_code == 403


def test_a_link_from_another_site_opens_a_page(client: FlaskClient) -> None:
    """Following a link is not an attack."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/login", headers=headers).status_code == 302


def test_a_browser_needs_its_pages_csrf_token(browser: Browser) -> None:
    """JSON without it is refused; with it, accepted."""
    browser.get("/nowhere")
    browser.csrf = browser.csrf or "wrong"
    refused = browser.post("/api/training/start", json={"config": tiny()}, X_CSRF_Token="wrong")
    assert refused.status_code == 403
    with browser.client.session_transaction(base_url=browser.base) as session:
        session["csrf"] = "right"
    taken = browser.post("/api/training/start", json={"config": tiny()}, X_CSRF_Token="right")
    assert taken.status_code == 202


def test_an_empty_csrf_token_is_rejected(browser: Browser) -> None:
    """A session without a token does not match a request without one."""
    assert browser.post("/api/training/start", json={"config": tiny()}, X_CSRF_Token="").status_code == 403


def test_a_program_on_this_machine_needs_no_token(client: FlaskClient) -> None:
    """Plain curl works on loopback."""
    assert client.post("/api/training/start", json={"config": tiny()}).status_code == 202


def test_beyond_loopback_everything_but_the_health_check_needs_a_login(guarded: Flask) -> None:
    """API clients and sockets get 401, users the login page."""
    client = guarded.test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/healthz").json == {"status": "ok"}
    for path in ("/api/training/sessions", "/socket.io/?EIO=4&transport=polling", "/api/openapi.json"):
        assert client.get(path).status_code == 401, path
    page = client.get("/runs", headers={"Accept": "text/html"})
    assert page.status_code == 302
    assert page.location.startswith("/login?next=")


def test_a_program_logs_in_with_the_token_itself(guarded: Flask) -> None:
    """With Authorization: Bearer, and no CSRF token is needed."""
    client = guarded.test_client()
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/training/sessions", headers=right).status_code == 200
    assert client.post("/api/training/start", json={"config": tiny()}, headers=right).status_code == 202
    assert client.get("/api/training/sessions", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_person_logs_in_and_out(guarded: Flask) -> None:
    """The cookie is limited to this server and hidden from scripts."""
    browser = Browser(guarded)
    assert browser.get("/login").status_code == 200
    assert browser.post("/login", form={"token": "wrong"}).status_code == 401
    entered = browser.post("/login", form={"token": TOKEN, "next": "/api/training/sessions"})
    assert (entered.status_code, entered.location) == (302, "/api/training/sessions")
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert browser.get("/api/training/sessions").status_code == 200
    with browser.client.session_transaction(base_url=browser.base) as session:
        session["csrf"] = browser.csrf = "t"
    assert browser.post("/logout").status_code == 302
    assert browser.get("/api/training/sessions").status_code == 401


def test_the_cookie_is_secure_under_https(guarded: Flask) -> None:
    """It is never sent unencrypted."""
    browser = Browser(guarded, base="https://localhost:5000")
    assert "Secure" in browser.get("/login").headers["Set-Cookie"]


@pytest.mark.parametrize("onward", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(guarded: Flask, onward: str) -> None:
    """A crafted link cannot redirect to another site after the login."""
    browser = Browser(guarded)
    browser.get("/login")
    assert browser.post("/login", form={"token": TOKEN, "next": onward}).location == "/"


def test_guessing_tokens_locks_no_one_out(guarded: Flask) -> None:
    """After five wrong tokens, another wrong one is told how long to wait; the right one always works."""
    client = guarded.test_client()
    for _ in range(5):
        assert client.get("/api/training/sessions", headers={"Authorization": "Bearer no"}).status_code == 401
    late = client.get("/api/training/sessions", headers={"Authorization": "Bearer no"})
    assert late.status_code == 429
    assert "seconds" in (late.json or {})["error"]["message"]
    assert 0 < int(late.headers["Retry-After"]) <= 300
    browser = Browser(guarded)
    browser.get("/login")
    page = browser.post("/login", form={"token": "no"})
    assert (page.status_code, "Retry-After" in page.headers) == (429, True)
    right = client.get("/api/training/sessions", headers={"Authorization": f"Bearer {TOKEN}"})
    assert right.status_code == 200
    assert browser.post("/login", form={"token": TOKEN}).status_code == 302


@pytest.mark.parametrize(
    ("more", "starts"), [({"host": "0.0.0.0"}, False), ({"allowed_hosts": ("a.example",)}, False), ({}, True)]
)
def test_a_token_that_can_be_guessed_is_refused(settings: Settings, more: dict[str, Any], starts: bool) -> None:
    """If others can reach the server; on loopback, the owner decides."""
    short = replace(settings, token="x", **more)
    if starts:
        create_app(short).extensions["tunesmith"].close()
        return
    with pytest.raises(Unavailable, match="TUNESMITH_TOKEN has 1 characters but needs at least 16"):
        create_app(short)


def test_a_copied_cookie_ends_with_the_logout(guarded: Flask, settings: Settings) -> None:
    """Even after a restart, which ends no other login; and a login expires."""
    first, second = Browser(guarded), Browser(guarded)
    for browser in (first, second):
        browser.get("/login")
        browser.post("/login", form={"token": TOKEN})
    cookie = first.client.get_cookie("tunesmith_5000")
    assert cookie is not None
    copied = {"Cookie": f"tunesmith_5000={cookie.value}", "Host": "localhost:5000"}
    assert guarded.test_client(use_cookies=False).get("/api/training/sessions", headers=copied).status_code == 200
    first.get("/runs")
    assert first.post("/logout").status_code == 302
    assert guarded.test_client(use_cookies=False).get("/api/training/sessions", headers=copied).status_code == 401
    assert second.get("/api/training/sessions").status_code == 200
    sessions = settings.home.sessions
    assert stat.S_IMODE(sessions.stat().st_mode) == 0o600
    again = create_app(replace(settings, host="0.0.0.0", token=TOKEN))
    kept = second.client.get_cookie("tunesmith_5000")
    assert kept is not None
    other = {"Cookie": f"tunesmith_5000={kept.value}", "Host": "localhost:5000"}
    assert again.test_client(use_cookies=False).get("/api/training/sessions", headers=other).status_code == 200
    assert again.test_client(use_cookies=False).get("/api/training/sessions", headers=copied).status_code == 401
    again.extensions["tunesmith"].close()
    sessions.write_text(json.dumps(dict.fromkeys(json.loads(sessions.read_text()), 1.0)))  # expired in 1970
    late = create_app(replace(settings, host="0.0.0.0", token=TOKEN))
    assert late.test_client(use_cookies=False).get("/api/training/sessions", headers=other).status_code == 401
    late.extensions["tunesmith"].close()


def test_a_page_of_https_is_another_origin(client: FlaskClient, settings: Settings) -> None:
    """Unless a proxy that adds TLS responds under that name."""
    sent = {"Origin": "https://localhost:5000", "Host": "localhost:5000"}
    assert client.get("/api/training/sessions", headers=sent).status_code == 403
    app = create_app(replace(settings, allowed_hosts=("studio.example",)))
    sent = {"Origin": "https://studio.example", "Host": "studio.example"}
    assert app.test_client().get("/api/training/sessions", headers=sent).status_code == 200
    app.extensions["tunesmith"].close()


def test_a_token_is_made_once_and_kept_hashed(settings: Settings) -> None:
    """It is printed on the first start; the file stores its hash and only the owner can read it."""
    open_settings = replace(settings, host="0.0.0.0")
    app = create_app(open_settings)
    token = app.extensions["tunesmith_new_token"]
    kept = settings.home.secrets.read_text()
    assert len(token) >= 40
    assert token not in kept
    assert set(json.loads(kept)) == {"session_key", "token_hash"}
    assert stat.S_IMODE(settings.home.secrets.stat().st_mode) == 0o600
    app.extensions["tunesmith"].close()
    again = create_app(open_settings)
    assert again.extensions["tunesmith_new_token"] is None
    right = {"Authorization": f"Bearer {token}"}
    assert again.test_client().get("/api/training/sessions", headers=right).status_code == 200
    again.extensions["tunesmith"].close()


def test_every_answer_carries_the_headers(client: FlaskClient) -> None:
    """Pages, JSON and errors."""
    for path in ("/healthz", "/api/training/sessions", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_a_request_without_a_file_is_small(client: FlaskClient) -> None:
    """At most eight megabytes, checked before anything is read into memory."""
    big = b'{"config": "' + b"x" * (9 * 1024 * 1024) + b'"}'
    response = client.post("/api/training/start", data=big, content_type="application/json")
    assert (response.status_code, (response.json or {})["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("PUT", "/api/training/start", 405), ("POST", "/api/training/start", 400)],
)
def test_one_error_shape(client: FlaskClient, method: str, path: str, status: int) -> None:
    """Every refusal has the same format and says what to do."""
    response = client.open(path, method=method, data=b"{", content_type="application/json")
    assert response.status_code == status
    assert set((response.json or {})["error"]) <= {"code", "message", "field"}


def test_a_defect_shows_no_trace(app: Flask) -> None:
    """The traceback goes to the log; the response says what was kept."""

    @app.get("/api/broken")
    def broken() -> str:
        raise RuntimeError("secret detail")

    response = app.test_client().get("/api/broken")
    assert response.status_code == 500
    assert "secret detail" not in response.get_data(as_text=True)


def test_a_worker_gets_no_secret_of_the_server(settings: Settings) -> None:
    """Its environment is an allowlist: the Hub token is passed on, the server's own secrets are not."""
    environ = {
        "PATH": "/bin", "FLASK_SECRET_KEY": "s", "TUNESMITH_TOKEN": "t", "DATABASE_URL": "d", "AWS_SECRET": "a",
    }  # fmt: skip
    env = worker_env(replace(settings, hf_token="hf_x"), {"HF_TOKEN"}, environ)
    assert set(env) == {"PATH", "TUNESMITH_HOME", "HF_HOME", "HF_TOKEN", "PYTHONUNBUFFERED", "TOKENIZERS_PARALLELISM"}


LOCAL: dict[str, Any] = {"model": {"name": "builtin:m"}, "dataset": {"source": "upload:20260101-000000-000000"}}
HUB: dict[str, Any] = {"model": {"name": "org/model"}, "dataset": {"source": "generated:arithmetic"}}


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (LOCAL, set()),
        (HUB, {"HF_TOKEN"}),
        ({**LOCAL, "dataset": {"source": "openai/gsm8k"}}, {"HF_TOKEN"}),
        ({**LOCAL, "dataset": {"source": "mix", "mix": [{"source": "openai/gsm8k"}]}}, {"HF_TOKEN"}),
        ({**LOCAL, "reward": {"components": [{"name": "judge", "params": {"model": "gpt"}}]}}, {"TUNESMITH_JUDGE_KEY"}),
        ({**LOCAL, "reward": {"components": [{"name": "reward_model", "params": {"model": "org/rm"}}]}}, {"HF_TOKEN"}),
        ({"models": [{"resolved": {"base": "/models/x"}}], "source": "40 held-out rows"}, set()),
        ({"models": [{"resolved": {"base": "org/model"}}]}, {"HF_TOKEN"}),
        ({"session_id": "of-the-hub"}, {"HF_TOKEN"}),
        ({"session_id": "gone"}, set()),
        ({"kind": "train", "name": "x", "config": HUB}, {"HF_TOKEN"}),
        ({"kind": "probe", "config": LOCAL}, set()),
        ({"model": "damaged", "reward": [1], "models": ["x"]}, set()),
    ],
)
def test_a_worker_gets_the_secrets_that_its_job_needs(
    settings: Settings, config: dict[str, Any], given: set[str]
) -> None:
    """The Hub token where something may be loaded from the Hub, the judge's key where a judge is used."""
    run = settings.home.outputs / "of-the-hub"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"kind": "train", "config": HUB}))
    secrets = needed(config, settings.home)
    env = worker_env(replace(settings, hf_token="hf_x"), secrets, {"TUNESMITH_JUDGE_KEY": "k", "PATH": "/bin"})
    assert set(secrets) == given
    assert {name for name in env if name in SECRETS} == given


def test_a_child_of_a_worker_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that chat or convert send nothing over the network."""
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("TUNESMITH_JUDGE_KEY", "k")
    assert not SECRETS & set(child_environment(A="1"))
    assert child_environment(A="1")["A"] == "1"


def test_settings_do_not_show_their_secrets(settings: Settings) -> None:
    """Printing them, as a log line would, shows none."""
    shown = repr(replace(settings, token="t0ken", secret_key="k3y", hf_token="hf_x"))
    assert not {"t0ken", "k3y", "hf_x"} & set(shown.replace("'", " ").replace(",", " ").split())


def test_the_session_key_survives_a_restart(settings: Settings, tmp_path: Path) -> None:
    """A page opened before the restart can still submit its form."""
    first, second = create_app(settings), create_app(settings)
    assert first.secret_key == second.secret_key
    for app in (first, second):
        app.extensions["tunesmith"].close()
