"""The interface against its description, with schemathesis, which has an environment of its own.

``INSPECTION_SCHEMATHESIS`` names its program ``st``: ``pip install schemathesis==4.32.5`` elsewhere.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from schemas import KafkaSettings
from tests.support.answering import answering_worker
from tests.support.gateways import make_image, running_gateway

PROGRAM = os.environ.get("INSPECTION_SCHEMATHESIS")

#: Schemathesis generates texts for an image; these are real ones.
HOOKS = """
import base64, json, pathlib
import schemathesis
from hypothesis import strategies

images = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.glob("*.png"))]
for kind in {kinds}:
    schemathesis.openapi.media_type(kind, strategies.sampled_from(images))
lines = [json.dumps(dict(image=base64.b64encode(image).decode())).encode() for image in images]
schemathesis.openapi.media_type("application/x-ndjson", strategies.sampled_from(lines))
"""
KINDS = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/x-ms-bmp", "application/octet-stream")

#: 502, 503 and 504 say something about the line, not about the gateway. A long poll takes its time.
CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]
max_response_time = 100

# HTTP allows headers that a server does not know.
[generation]
allow-extra-parameters = false
"""


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.skipif(PROGRAM is None, reason="INSPECTION_SCHEMATHESIS does not name the program st")
def test_the_interface_is_as_described(line: KafkaSettings, tmp_path: Path) -> None:
    (tmp_path / "gateway_hooks.py").write_text(HOOKS.format(kinds=KINDS))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(make_image(number))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "gateway_hooks", "PYTHONPATH": str(tmp_path)}
    with answering_worker(line), running_gateway(line, longest_wait_s=60.0) as gateway:
        command = [str(PROGRAM), "run", f"{gateway.url}/openapi.json", "--checks", "all", "-n", "40", "--seed", "1"]
        done = subprocess.run(
            [*command, "--request-timeout", "90"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False, timeout=1800,
        )  # fmt: skip
        lines = (line[:400] for line in done.stdout.splitlines() if line.strip() and "curl " not in line)
        assert done.returncode == 0, "\n".join(lines) + done.stderr[-2000:]
        assert gateway.ask("GET", "/health").status == 200
