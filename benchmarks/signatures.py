"""``python -m benchmarks.signatures``: time to sign a message, and to check its signature.

Measured are the calls of the programs: `Signer.headers`, which every producer makes for a message, and
`Belief.refusal`, with which a worker checks a frame and a gate a decision. The messages are a decision of the demo's
model and frames with images of three sizes, encoded. Beside them stands what encoding and decoding of the decision take
without a signature. Contenders run in turns.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import described, machine
from benchmarks.output import bars, markdown, progress, write
from benchmarks.rounds import Spread, in_turns
from operations.signing_keys import make_key_files
from schemas import Action, Decision, Encoding, Frame, ResultState, Verdict
from schemas.codec import decode, encode
from transport.belief import Belief, SignaturePolicy
from transport.public_keys import SignerRole
from transport.signing_key import Signer
from transport.trust import Trust

IMAGE_KB = (20, 100, 334)
_CALLS = 400
_DECISION = Decision(
    decision_id="9f" * 16,
    frame_id="press.top.60a24181e4000.00000012",
    line="line-1",
    station="press",
    camera_id="top",
    part_id="P-000077",
    started_at_us=1_700_000_000_000_000,
    sequence=12,
    image_sha256="aa" * 32,
    verdict=Verdict.NOT_OK,
    action=Action.REJECT,
    result_state=ResultState.COMPLETED,
    reason="crack 0.91 at or above the threshold 0.50",
    model_name="elpv",
    model_version="1",
    model_sha256="bb" * 32,
    recipe_id="default",
    recipe_revision="1",
    captured_at_us=1_760_000_000_000_000,
    received_at_us=1_760_000_000_002_000,
    decided_at_us=1_760_000_000_012_000,
    deadline_at_us=1_760_000_000_700_000,
    source_topic="inspection.frames",
    source_partition=3,
    source_offset=1234,
    labels={"functional": 0.09, "crack": 0.91},
    signals={f"signal_{number}": number / 7 for number in range(24)},
    durations_ms={"queue": 0.2, "decode": 1.1, "infer": 7.9},
)


def frame(kilobytes: int) -> Frame:
    """Return a frame with an image of this size, in kB."""
    return Frame(
        frame_id=_DECISION.frame_id, line="line-1", station="press", camera_id="top", started_at_us=1, sequence=12,
        captured_at_us=1, encoding=Encoding.JPEG, width=300, height=300, sha256="aa" * 32,
        image=bytes(range(250)) * 4 * kilobytes,
    )  # fmt: skip


def contenders(folder: Path) -> dict[str, Callable[[], object]]:
    """Return the calls to measure; keys are made in the folder."""
    trust = folder / "trust"
    trust.mkdir()
    signers = {}
    for role in (SignerRole.CAMERA, SignerRole.WORKER):
        made = make_key_files(folder, role.value, role, ("press/top",))
        shutil.move(made.public, trust)
        signers[role] = Signer(made.private)
    belief = Belief(Trust(trust), SignaturePolicy.REQUIRE)
    decision = encode(_DECISION)
    values = {f"decision of {len(decision) / 1000:.1f} kB": (SignerRole.WORKER, "inspection.decisions", decision)}
    for size in IMAGE_KB:
        values[f"frame of {size} kB"] = (SignerRole.CAMERA, "inspection.frames", encode(frame(size)))
    found: dict[str, Callable[[], object]] = {
        "encode the decision": lambda: encode(_DECISION),
        "decode the decision": lambda: decode(decision, Decision),
    }
    for name, (role, topic, value) in values.items():
        found |= _calls(name, signers[role], belief, role, topic, value)
    return found


def _calls(
    name: str, signer: Signer, belief: Belief, role: SignerRole, topic: str, value: bytes
) -> dict[str, Callable[[], object]]:
    key = b"press/top"
    headers = {name: part for name, part in signer.headers(topic, key, value, []) if isinstance(part, bytes)}

    def check() -> None:
        assert belief.refusal(role, "press/top", topic, key, value, headers) is None

    return {f"sign a {name}": lambda: signer.headers(topic, key, value, []), f"check a {name}": check}


def measure(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure the µs of each call in turns; the first round is left out."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number, name in in_turns(list(calls), rounds + 1):
        call = calls[name]
        began_s = time.perf_counter()
        for _ in range(_CALLS):
            call()
        if number:
            found[name].append((time.perf_counter() - began_s) / _CALLS * 1e6)
    progress(f"{rounds} rounds of {_CALLS} calls each")
    return found


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = [(name, Spread.of(values)) for name, values in report["us"].items()]
    return "\n".join([described(report["machine"]), "", markdown(["call", "µs"], rows)])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all calls")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    found_machine = machine()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(contenders(Path(scratch)), args.rounds)
    report = {"machine": found_machine, "settings": {"rounds": args.rounds, "calls": _CALLS}, "us": found}
    plot = bars("Signatures", "µs", {name: Spread.of(values) for name, values in found.items()})
    write("signatures", report, table(report), {"us": plot}, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
