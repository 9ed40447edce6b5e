"""Sending a file as a form does."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient


def send_file(client: FlaskClient, url: str, data: bytes, name: str) -> Any:
    """Post one file as the field 'file'.

    Encoded here, because the test client's own encoder leaves a temporary file open for large ones.
    """
    quoted = name.replace("\x00", "%00").replace('"', "%22")
    head = f'--limit\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'.encode()
    body = head + data + b"\r\n--limit--\r\n"
    return client.post(url, data=body, content_type="multipart/form-data; boundary=limit")
