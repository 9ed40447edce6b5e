"""What the API and pages say about metrics."""

from __future__ import annotations

from flask.testing import FlaskClient

from core.metrics import METRICS


def test_programs_get_every_metric(client: FlaskClient) -> None:
    """Each with its unit, direction and healthy range."""
    found = {one["key"]: one for one in client.get("/api/metrics").get_json()["metrics"]}
    assert list(found) == [one.key for one in METRICS]
    assert found["kl"]["unit"] == "nats"
    assert found["kl"]["better"] == "neither"
    assert found["kl"]["healthy"] == {"low": None, "high": 0.1}
    assert (found["solved"]["title"], found["solved"]["better"]) == ("Solve rate", "higher")
    assert all(one["text"].endswith(".") for one in found.values())


def test_the_help_page_explains_metrics(client: FlaskClient) -> None:
    """The usual term first, then the plain explanation."""
    page = client.get("/help/glossary").get_data(as_text=True).partition('<dl class="glossary">')[2]
    for one in METRICS:
        assert (f'<dt id="word-{one.key}">{one.title}</dt>\n    <dd>{one.plain}. ' in page) == bool(one.text)
