"""Commands that send each request of the OpenAPI document: with `curl`, from files of images.

The document has them as `x-codeSamples`, which most viewers of OpenAPI show beside the operation, and the page of the
gateway shows them, too. JSON cannot carry a file, so these bodies have no other example.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.batch import NDJSON_TYPE
from gateway.foreign.open_inference import LENGTH_HEADER
from gateway.image_request import FORM_TYPE

#: Stands for the address of the gateway.
ADDRESS = "$GATEWAY"
_OCTETS = "application/octet-stream"
_IMAGE_NUMBER = r"$((size & 255)) $((size >> 8 & 255)) $((size >> 16 & 255)) $((size >> 24))"
_BINARY = f"""size=$(wc -c < part.jpg)
tensor='{{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {{"binary_data_size": '$((size + 4))'}}}}'
head='{{"inputs": ['$tensor']}}'
{{ printf %s "$head"; printf "$(printf '\\\\%03o' {_IMAGE_NUMBER})"; cat part.jpg; }} |
  curl -f --data-binary @- -H 'Content-Type: {_OCTETS}' -H "{LENGTH_HEADER}: ${{#head}}" """
_LINES = (
    "for part in P-77 P-78; do\n"
    """  printf '{"image": "%s", "part_id": "%s"}\\n' "$(base64 -w0 "$part.jpg")" "$part"\n"""
    "done |\n"
    f"  curl -f --data-binary @- -H 'Content-Type: {NDJSON_TYPE}' "
)
_LABEL = '{"truth": "good", "part_id": "P-77", "station": "press", "camera_id": "top", "labelled_by": "ann"}'
_JSON_IMAGE = """ "$(base64 -w0 part.jpg)" | curl -f --data-binary @- -H 'Content-Type: application/json' """


@dataclass(frozen=True, slots=True)
class _Sample:
    label: str
    command: str
    query: str = ""

    def source(self, path: str, needs_token: bool) -> str:
        token = """-H "Authorization: Bearer $TOKEN" """ if needs_token else ""
        return f'{self.command}{token}"{ADDRESS}{path}{self.query}"'


_INFER = (
    _Sample(
        "image in base64",
        """printf '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}'""" + _JSON_IMAGE,
        "?part_id=P-77",
    ),
    _Sample(f"binary tensor ({_OCTETS})", _BINARY, "?part_id=P-77"),
)
_PREDICT = (_Sample("image in base64", """printf '{"instances": [{"b64": "%s"}]}'""" + _JSON_IMAGE, "?part_id=P-77"),)
#: Commands by the id of the operation.
_SAMPLES: dict[str, tuple[_Sample, ...]] = {
    "inspect": (
        _Sample("image as the body", "curl -f --data-binary @part.jpg -H 'Content-Type: image/jpeg' ", "?part_id=P-77"),
        _Sample(
            f"form ({FORM_TYPE})",
            """curl -f -F 'file=@part.jpg' -F 'part_id=P-77' -F 'attributes={"shift": "2"}' """,
        ),
    ),
    "inspectBatch": (
        _Sample(f"form ({FORM_TYPE})", "curl -f -F 'file=@P-77.jpg' -F 'file=@P-78.jpg' -F 'lot=L-3' "),
        _Sample(f"lines of JSON ({NDJSON_TYPE})", _LINES),
    ),
    "label": (_Sample("label of a part", f"curl -f -d '{_LABEL}' -H 'Content-Type: application/json' "),),
    "decisions": (_Sample("decisions on a part", "curl -f ", "?part_id=P-77"),),
    "infer": _INFER,
    "inferVersion": _INFER,
    "predict": _PREDICT,
    "predictVersion": _PREDICT,
}


def samples(operation_id: str, path: str, needs_token: bool) -> list[dict[str, str]]:
    """Return the commands of an operation, as the extension `x-codeSamples` has them; [] if it needs none.

    Parameters
    ----------
    needs_token
        True for commands that send the token of ``$TOKEN``.

    Examples
    --------
    >>> samples("decisions", "/v1/decisions", False)[0]["source"]
    'curl -f "$GATEWAY/v1/decisions?part_id=P-77"'
    >>> samples("health", "/health", False)
    []
    """
    return [
        {"lang": "Shell", "label": each.label, "source": each.source(path, needs_token)}
        for each in _SAMPLES.get(operation_id, ())
    ]
