"""Stores of a fleet: a folder, and a real S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

SECRET = "do-not-tell-me"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of an empty store, a folder."""
    (tmp_path / "store").mkdir()
    return (tmp_path / "store").as_uri()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server on loopback, with the bucket "fleet"."""
    server = pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key=SECRET,
    )  # fmt: skip
    client.create_bucket(Bucket="fleet")
    yield f"http://{host}:{port}"
    running.stop()


def use_s3(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
