"""Child process of `models.importers.converter`: runs one converter without a network, and answers in JSON lines.

It reads a job from standard input and answers ``{"stage": "converted"}`` with the facts of the model. Then it reads the
file of the tensors, and answers ``{"stage": "ran"}`` when the framework's outputs are written. A fault is answered with
``refused`` (the text is for the user) or ``failed`` (the text is the framework's).

A converter has a function ``convert(job)`` that writes the ONNX file. It returns the facts of the model, a function
from a batch of one to outputs by name, and a function from an image file to a batch of one, resized by the framework
(or None).
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import runpy
import struct
import sys
from typing import Any, TextIO

import numpy as np

#: Machine -> its number in a seccomp filter (AUDIT_ARCH), and the number of the system call ``socket``.
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_EACCES = 13
_AF_INET, _AF_INET6 = 2, 10


def forbid_network() -> None:
    """Make every new internet socket of this process fail (Linux, seccomp(2)); other machines stay as they are."""
    if platform.machine() not in _SOCKET:
        return
    machine, number = _SOCKET[platform.machine()]
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | _EACCES
    steps = [
        (load, 0, 0, 4),  # the machine
        (jump_if_equal, 0, 5, machine),
        (load, 0, 0, 0),  # the system call
        (jump_if_equal, 0, 3, number),
        (load, 0, 0, 16),  # its first argument
        (jump_if_equal, 2, 0, _AF_INET),
        (jump_if_equal, 1, 0, _AF_INET6),
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


def main() -> None:
    """Convert the model of the job, then run it on the tensors."""
    # Frameworks print to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    forbid_network()
    sys.path[1:1] = job["path"]
    try:
        facts, run, read = runpy.run_path(job["script"])["convert"](job)
        if job["invert"] is not None:
            facts, run = _invert(job, facts, run)
        _answer(answers, stage="converted", **facts)
        line = sys.stdin.readline()
        if line:
            _run(json.loads(line), run, read)
            _answer(answers, stage="ran")
    except Exception as error:  # noqa: BLE001 - any error of a framework is an answer
        stage = "refused" if type(error).__name__ == "_Refusal" else "failed"
        text = str(error) if stage == "refused" else f"{type(error).__name__}: {error}"
        _answer(answers, stage=stage, error=text[:4000])


def _invert(job: dict[str, Any], facts: dict[str, Any], run: Any) -> tuple[dict[str, Any], Any]:
    """Turn the one score of the good label to that of the other label: 1 - p for probabilities, -x for logits.

    1 - sigmoid(x) is sigmoid(-x): so a graph that ends in a sigmoid still does.
    """
    import onnx

    names = [name for name, shape in facts["outputs"].items() if shape == [1, 1]]
    if len(names) != 1:
        return facts, run
    [name] = names
    model = onnx.load(job["onnx"])
    nodes = list(model.graph.node)
    makers = {output: node for node in nodes for output in node.output}
    last = name
    while last in makers and makers[last].op_type in ("Identity", "Reshape", "Squeeze", "Cast", "Flatten"):
        last = makers[last].input[0]
    maker = makers.get(last)
    is_probability = maker is not None and maker.op_type == "Sigmoid"
    if maker is not None and is_probability:
        at, before = nodes.index(maker), maker.input[0]
        maker.input[0] = f"{before}.turned"
    else:
        at, before = len(nodes), f"{name}.of_good"
        for node in nodes:
            node.output[:] = [before if each == name else each for each in node.output]
            node.input[:] = [before if each == name else each for each in node.input]
    turned = f"{before}.turned" if is_probability else name
    if is_probability or job["invert"] != "none":
        nodes.insert(at, onnx.helper.make_node("Neg", [before], [turned]))
    else:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1.0], np.float32), f"{name}.one"))
        nodes.append(onnx.helper.make_node("Sub", [f"{name}.one", before], [turned]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, job["onnx"])

    def run_turned(batch: Any) -> dict[str, Any]:
        found = run(batch)
        found[name] = 1 - found[name] if is_probability or job["invert"] == "none" else -found[name]
        return found  # type: ignore[no-any-return]

    return facts, run_turned


def _run(job: dict[str, Any], run: Any, read: Any) -> None:
    """Write the outputs for the tensors, and for the images as the framework resizes them."""
    with np.load(job["tensors"], allow_pickle=False) as given:
        np.savez(job["outputs"], **_outputs(run, (given[name] for name in given.files)))
    if read is not None and job["images"]:
        np.savez(job["own_outputs"], **_outputs(run, (read(path, job["input"]) for path in job["images"])))


def _outputs(run: Any, batches: Any) -> dict[str, Any]:
    """Return the outputs of all batches of one, named ``0:scores``, ``1:scores`` and so on."""
    found = {}
    for number, batch in enumerate(batches):
        for name, value in run(batch).items():
            found[f"{number}:{name}"] = np.asarray(value)
    return found


def _answer(answers: TextIO, **content: Any) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
