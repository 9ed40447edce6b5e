"""Ten thousand malformed files against upload and preview: always a proper response, and nothing outside uploads/."""

from __future__ import annotations

import gzip
import io
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from core.settings import Home
from tests.data.shapes import FORMATS, SHAPES, as_zstd

FILES = 10_000
SLOWEST = 5.0
"""Seconds for one upload or preview; more counts as a hang."""
NAMES = (
    "a.jsonl",
    "a.json",
    "a.csv",
    "a.tsv",
    "a.parquet",
    "a.jsonl.gz",
    "a.csv.zst",
    "x",
    "../../x.csv",
    "a\x00.json",
    "",
)


BOUNDARY = "----a-boundary-that-no-file-has-by-accident"
"""The same for all uploads: the server compiles a pattern for each new one."""


def seeds() -> list[bytes]:
    """A valid file of every format and layout, and the starts of some invalid ones."""
    good = [write(rows) for _, write in FORMATS.values() for rows in SHAPES.values()]
    return [
        *good,
        b"",
        b"\0" * 100,
        b"[[[[[[",
        b'{"a":' * 500,
        b"PAR1" * 20,
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"\xff\xfe\x00",
        b'"' * 99,
    ]


def mutated(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """A file with one to four random mutations."""
    for _ in range(draw.randint(1, 4)):
        at, until = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        noise = draw.randbytes(draw.randint(1, 8))
        data = draw.choice((
            lambda d, a, b: d[:a],
            lambda d, a, b: d[:a] + d[b:],
            lambda d, a, b, n=noise: d[:a] + n + d[a:],
            lambda d, a, b, n=noise: d[:a] + n + d[a + len(n) :],
            lambda d, a, b: d[:a] + d[a:b] * 3 + d[b:],
            lambda d, a, b: d[:a] + other[a:b] + d[b:],
            lambda d, a, b: d.replace(b'"', b"", 1),
            lambda d, a, b: d[:a] + draw.choice((b"\r", b"\n\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"NaN", b"1e999", b"\\ud800", b"{}", b"9" * 5000)) + d[a:],
        ))(data, at, until)  # fmt: skip
    if draw.random() < 0.1:
        data = gzip.compress(data, 1) if draw.random() < 0.5 else as_zstd(data)
        data = data[: draw.randrange(len(data) + 1)] if draw.random() < 0.5 else data
    return data


def outside(home: Home) -> set[Path]:
    return {path for path in home.root.rglob("*") if home.uploads not in path.parents and path != home.trash}


class Fuzz:
    """Uploads files, views accepted ones, and records the outcomes."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.statuses: Counter[int] = Counter()

    def try_one(self, data: bytes, name: str, *, skip: bool) -> None:
        """Raises AssertionError if a response is a 5xx, slow, or without a message."""
        began = time.thread_time()
        form = {"file": FileStorage(io.BytesIO(data), name), "bad_rows": "skip" if skip else "stop"}
        _, body = encode_multipart(form, BOUNDARY)
        sent_as = f"multipart/form-data; boundary={BOUNDARY}"
        made = self.client.post("/api/datasets/upload", data=body, content_type=sent_as)
        self.statuses[made.status_code] += 1
        assert made.status_code in {201, 400, 413}, (data[:500], name, made.get_json())
        if made.status_code == 201:
            upload = made.get_json()["id"]
            seen = self.client.post("/api/datasets/preview", json={"path": f"upload:{upload}", "samples": 5})
            assert seen.status_code == 200, (data[:500], name, seen.get_json())
            assert self.client.get(f"/api/datasets/{upload}/rows?search=a&limit=2").status_code == 200
            assert self.client.delete(f"/api/datasets/{upload}").status_code == 204
            assert self.client.delete("/api/trash").status_code == 200
        else:
            assert made.get_json()["error"]["message"]
        assert time.thread_time() - began < SLOWEST, (data[:500], name)


@pytest.fixture
def fuzz(app: Flask, home: Home) -> Iterator[Fuzz]:
    before = outside(home)
    found = Fuzz(app.test_client())
    yield found
    assert list(home.uploads.iterdir()) == []
    assert {path for path in outside(home) - before if "catalogue" not in path.name} == set()


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused(fuzz: Fuzz) -> None:
    """Mutated files of every format and layout: no 5xx, no hang, both outcomes many times."""
    draw = random.Random(20260131)
    known = seeds()
    for _ in range(FILES):
        data = mutated(draw, draw.choice(known), draw.choice(known))
        fuzz.try_one(data, draw.choice(NAMES), skip=draw.random() < 0.5)
    assert fuzz.statuses[201] > FILES // 20
    assert fuzz.statuses[400] > FILES // 20


CELLS = st.one_of(
    st.text(max_size=20), st.integers(), st.floats(), st.none(), st.lists(st.text(max_size=3), max_size=2)
)
LINES = st.lists(
    st.one_of(st.text(max_size=60), st.dictionaries(st.text(max_size=8), CELLS, max_size=3).map(repr)), max_size=6
)


def test_files_generated_by_hypothesis(fuzz: Fuzz) -> None:
    """Text of every script in every encoding, and plain bytes."""

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        data=st.one_of(st.binary(max_size=300), st.tuples(LINES, st.sampled_from(["utf-8", "utf-16", "latin-1"])).map(lambda pair: "\n".join(pair[0]).encode(pair[1], "replace"))),
        name=st.sampled_from(NAMES),
        skip=st.booleans(),
    )  # fmt: skip
    def check(data: bytes, name: str, skip: bool) -> None:
        fuzz.try_one(data, name, skip=skip)

    check()
