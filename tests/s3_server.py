"""S3 server on loopback for tests: moto's, in this process, with the environment that makes clients use it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.builds import NOT_PRODUCTS


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch, *buckets: str) -> Iterator[str]:
    """Run the server with empty buckets, and yield its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        import boto3
        import urllib3

        urllib3.request("POST", f"{url}/moto-api/reset")  # state of an earlier server in this process
        for bucket in buckets:
            boto3.client("s3", endpoint_url=url).create_bucket(Bucket=bucket)
        yield url
    finally:
        server.stop()


def stored(server: str, output: str, bucket: str = "corpora") -> dict[str, str]:
    """Return every product of a build in the bucket, with its SHA-256."""
    import boto3

    client, found = boto3.client("s3", endpoint_url=server), {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{output}/"):
        for each in page.get("Contents", []):
            name = each["Key"].removeprefix(f"{output}/")
            if name.partition("/")[0] not in NOT_PRODUCTS:
                body = client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
                found[name] = hashlib.sha256(body).hexdigest()
    return found
