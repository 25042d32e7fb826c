"""Description of the doors for clients of other servers, as a part of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from gateway.batch import MOST_IMAGES
from gateway.foreign.model import INPUT, MODEL, MODEL_PATHS, OUTPUTS, VERSION
from gateway.foreign.open_inference import BINARY_EXTENSION, IGNORED, LENGTH_HEADER, MOST_DIMENSIONS, MOST_ID
from gateway.foreign.tensorflow_serving import SIGNATURE
from gateway.openapi_parts import (
    ALWAYS,
    BINARY,
    FIELDS,
    LOCATION,
    OPEN_PAGE,
    PNG_EXAMPLE,
    REQUEST_HEADERS,
    body_kind,
    json_answer,
    parameter,
    query_parameter,
    ref,
    responses,
)  # fmt: skip

_INFER = (*ALWAYS, 408, 409, 413, 415, 422, 429, 502, 504)
_BASE64 = {
    "type": "string", "format": "byte", "contentEncoding": "base64",
    "description": "The image: JPEG, PNG, TIFF or BMP, in base64.",
}  # fmt: skip
_HEADERS = {
    **LOCATION,
    LENGTH_HEADER: {
        "description": "Length of the JSON object, if binary tensors follow it.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_PROTOCOL = (
    'Errors are `{"error": TEXT}`. `respond-async` is ignored: these protocols have no answer without a decision.'
)


def foreign_paths() -> dict[str, Any]:
    """Return the paths."""
    found: dict[str, Any] = {
        "/v2": _get("server", "Server, as Open Inference Protocol has it", "ServerMetadata"),
        "/v2/health/live": _get("serverLive", "Does the process work?", "Live", "Live"),
        "/v2/health/ready": _get("serverReady", "Are requests taken?", "Ready", "Error"),
    }
    for path in MODEL_PATHS:
        more = "Version" if path else ""
        found |= {
            f"/v2/models/{MODEL}{path}": _get(f"model{more}", "Model: its input and outputs", "ModelMetadata"),
            f"/v2/models/{MODEL}{path}/ready": _get(f"model{more}Ready", "Are requests taken?", "ModelReady", "Error"),
            f"/v2/models/{MODEL}{path}/infer": _infer(f"infer{more}"),
            f"/v1/models/{MODEL}{path}": _get(
                f"tensorflowStatus{more}", "Status of the model, as TensorFlow Serving has it", "TensorflowStatus"
            ),
            f"/v1/models/{MODEL}{path}/metadata": _get(
                f"tensorflowMetadata{more}", "Model, as TensorFlow Serving has it", "TensorflowMetadata"
            ),
            f"/v1/models/{MODEL}{path}:predict": _predict(f"predict{more}"),
        }
    return found


def _get(operation: str, summary: str, schema: str, unavailable: str | None = None) -> dict[str, Any]:
    answers = responses({"200": json_answer("The answer.", ref(schema))}, OPEN_PAGE, foreign=True)
    if unavailable is not None:
        answers |= responses({}, (503,), foreign=True)
        if unavailable != "Error":
            answers["503"] = json_answer("No.", ref(unavailable))
    return {"get": {"operationId": operation, "summary": summary, "security": [], "responses": answers}}


def _query() -> list[dict[str, Any]]:
    return [query_parameter(name, schema) for name, schema in FIELDS.items()]


def _infer(operation: str) -> dict[str, Any]:
    length = parameter(
        LENGTH_HEADER, "header", {"type": "integer", "minimum": 1},
        "Length of the JSON object in bytes, if binary tensors follow it.",
    )  # fmt: skip
    tensor = {"name": INPUT, "datatype": "BYTES"}
    one_image = {"inputs": [{**tensor, "shape": [1], "data": [PNG_EXAMPLE]}]}
    two_images = {
        "id": "request-7",
        "parameters": {"lot": "L-3", "attributes": '{"shift": "2"}', "deadline_ms": 10_000},
        "inputs": [{**tensor, "shape": [2], "data": [PNG_EXAMPLE, PNG_EXAMPLE]}],
        "outputs": [{"name": "action"}, {"name": "score"}],
    }
    answer = json_answer("Verdicts on all images, in time.", ref("InferResponse"), _HEADERS)
    answer["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "post": {
            "operationId": operation,
            "summary": f"Inspect 1 to {MOST_IMAGES} images, in Open Inference Protocol",
            "description": "`application/octet-stream` is the JSON object, followed by the binary tensor: for each "
            f"image a length of 4 bytes, little-endian, and its file; the header `{LENGTH_HEADER}` says where it "
            f"begins. The product of the sizes in `shape` is the number of images. {_PROTOCOL}",
            "parameters": [*REQUEST_HEADERS, length, *_query()],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": body_kind(ref("InferRequest"), one_image=one_image, two_images=two_images),
                    "application/octet-stream": {"schema": BINARY | {"description": "JSON object and binary tensor."}},
                },
            },
            "responses": responses({"200": answer}, _INFER, foreign=True),
        }
    }


def _predict(operation: str) -> dict[str, Any]:
    answer = json_answer("Verdicts on all images, in time.", ref("PredictResponse"), LOCATION)
    encoded = {"b64": PNG_EXAMPLE}
    rows = {"signature_name": SIGNATURE, "instances": [{INPUT: encoded}, {INPUT: encoded}]}
    columns = {"inputs": {INPUT: [encoded, encoded]}}
    return {
        "post": {
            "operationId": operation,
            "summary": f"Inspect 1 to {MOST_IMAGES} images, in TensorFlow Serving's REST",
            "description": f"`instances` are rows, `inputs` are columns; the answer has the same form. {_PROTOCOL}",
            "parameters": [*REQUEST_HEADERS, *_query()],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": body_kind(
                        ref("PredictRequest"), one_image={"instances": [encoded]}, rows=rows, columns=columns
                    )
                },
            },
            "responses": responses({"200": answer}, _INFER, foreign=True),
        }
    }


def foreign_schemas() -> dict[str, Any]:
    """Return the schemas that `foreign_paths` refers to."""
    return {
        "Error": _object(error={"type": "string"}),
        **_open_inference(),
        **_tensorflow(),
    }


def _object(*, optional: dict[str, Any] | None = None, closed: bool = False, **properties: Any) -> dict[str, Any]:
    found = {"type": "object", "required": list(properties), "properties": {**properties, **(optional or {})}}
    return {**found, "additionalProperties": False} if closed else found


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _open_inference() -> dict[str, Any]:
    flag: dict[str, Any] = {"type": ["boolean", "null"]}
    size = {"type": "integer", "minimum": 1}
    parameters: dict[str, Any] = {
        name: _or_null(schema) for name, schema in FIELDS.items() if name not in ("attributes", "deadline_ms")
    }
    deadline = FIELDS["deadline_ms"]
    text = {"type": "string", "pattern": "^[1-9][0-9]{0,6}$"}
    parameters |= {
        "attributes": {
            "type": ["string", "null"], "contentMediaType": "application/json",
            "description": "The object as JSON text.", "examples": ['{"shift": "2"}'],
        },
        "deadline_ms": {"anyOf": [deadline, text, {"type": "null"}], "description": deadline["description"]},
        "timeout": {"type": ["integer", "null"], "minimum": 1, "description": "Wait in µs, without `Prefer: wait=`."},
        "binary_data_output": {**flag, "description": "All outputs as binary tensors."},
        **{name: {"description": "Ignored."} for name in sorted(IGNORED)},
    }  # fmt: skip
    tensor = _object(
        name={"const": INPUT},
        datatype={"const": "BYTES"},
        shape={"type": "array", "items": size, "minItems": 1, "maxItems": MOST_DIMENSIONS},
        data=ref("InferImages"),
        optional={
            "parameters": {
                "type": ["object", "null"],
                "properties": {"binary_data_size": {"type": "null", "description": "For a binary tensor only."}},
            }
        },
    )
    output = _object(
        name={"type": "string", "enum": list(OUTPUTS)},
        optional={
            "parameters": {"type": ["object", "null"], "properties": {"binary_data": flag, "classification": False}}
        },
    )
    request = _object(
        inputs={"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
        optional={
            "id": {"type": ["string", "null"], "maxLength": MOST_ID},
            "parameters": {"type": ["object", "null"], "properties": parameters, "additionalProperties": False},
            "outputs": {
                "type": ["array", "null"], "items": output, "maxItems": len(OUTPUTS),
                "description": "Each at most once; none stands for all.",
            },
        },
    )  # fmt: skip
    value = {"type": ["string", "number", "null"]}
    answer = _object(
        name={"type": "string", "enum": list(OUTPUTS)},
        datatype={"type": "string", "enum": ["BYTES", "FP64"]},
        shape={"type": "array", "items": size},
        optional={
            "data": {"type": "array", "items": value},
            "parameters": _object(binary_data_size={"type": "integer", "minimum": 0}),
        },
    )
    info = _object(
        name={"type": "string"},
        datatype={"type": "string"},
        shape={"type": "array", "items": {"type": "integer"}},
    )
    infos = {"type": "array", "items": info}
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "ServerMetadata": _object(
            name={"type": "string"}, version={"type": "string"},
            extensions={**texts, "examples": [[BINARY_EXTENSION]]},
        ),
        "Live": _object(live={"type": "boolean"}),
        "Ready": _object(live={"const": True}, ready={"const": True}),
        "ModelReady": _object(name={"const": MODEL}, ready={"const": True}),
        "ModelMetadata": _object(
            name={"const": MODEL}, versions={**texts, "examples": [[VERSION]]}, platform={"type": "string"},
            inputs=infos, outputs=infos,
        ),
        "InferImages": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [_BASE64, ref("InferImages")]},
            "description": f"1 to {MOST_IMAGES} images; the lists may be nested as `shape` says.",
        },
        "InferRequest": request,
        "InferResponse": _object(
            model_name={"const": MODEL}, model_version={"const": VERSION},
            outputs={"type": "array", "items": answer}, optional={"id": {"type": "string"}},
        ),
    }  # fmt: skip


def _tensorflow() -> dict[str, Any]:
    encoded = _object(b64=_BASE64, closed=True)
    images = {
        "type": "array", "minItems": 1, "maxItems": MOST_IMAGES,
        "items": {"anyOf": [encoded, _object(closed=True, **{INPUT: encoded})]},
    }  # fmt: skip
    signature = {"signature_name": {"type": "string", "enum": ["", SIGNATURE]}}
    columns = {"anyOf": [images, _object(closed=True, **{INPUT: images})]}
    text, number = {"type": "string"}, {"type": ["number", "null"]}
    values: dict[str, Any] = {output: text if is_text else number for output, is_text in OUTPUTS.items()}
    values["decision"] = {**text, "contentMediaType": "application/json"}
    rows = {"type": "array", "items": _object(**values)}
    columns_of_answer: dict[str, Any] = {name: {"type": "array", "items": kind} for name, kind in values.items()}
    status = _object(
        version={"const": VERSION},
        state={"type": "string", "enum": ["AVAILABLE", "LOADING"]},
        status=_object(error_code=text, error_message=text),
    )
    return {
        "TensorflowStatus": _object(model_version_status={"type": "array", "items": status}),
        "TensorflowMetadata": _object(model_spec={"type": "object"}, metadata={"type": "object"}),
        "PredictRequest": {
            "oneOf": [
                _object(instances=images, optional=signature, closed=True),
                _object(inputs=columns, optional=signature, closed=True),
            ]
        },
        "PredictResponse": {
            "oneOf": [
                _object(predictions=rows),
                _object(outputs=_object(**columns_of_answer)),
            ]
        },
    }
