"""Comparison of the inputs and outputs of a session with the manifest; each refusal names a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from models.agreement import PackageDifference
from models.manifest_file import ManifestFile
from models.runtime import ort

_ORT_TYPES = {"uint8": "tensor(uint8)", "float16": "tensor(float16)", "float32": "tensor(float)"}
_NUMERIC = {f"tensor({kind})" for kind in ("float", "float16", "double", "int64", "int32", "uint8", "int8")}


def refuse(found: Iterable[PackageDifference], source: ManifestFile) -> None:
    """Refuse a package for the first difference that its manifest does not overrule.

    Raises
    ------
    ModelPackageError
        With the remedy, and the line that overrules the check.
    """
    for subject, location, reason in found:
        if subject not in source.manifest.overrule:
            overrule = f"`overrule: [{subject}]`"
            hint = "" if overrule in reason else f"; if the manifest is right, add {overrule}"
            raise source.error(location, f"{reason}{hint}")


def check_input(session: ort.InferenceSession, source: ManifestFile) -> None:
    """Compare the one input with the manifest.

    Raises
    ------
    ModelPackageError
        If name, type or shape differ.
    """
    spec, inputs = source.manifest.input, session.get_inputs()
    names = ", ".join(repr(each.name) for each in inputs)
    if len(inputs) > 1:
        others = ", ".join(repr(each.name) for each in inputs if each.name != spec.name)
        raise source.error(
            ("input", "name"),
            f"the graph's inputs are {names}, a package has one, the image: make the others ({others}) constants "
            "(initializers) of the graph, or leave them out at export",
        )
    if not inputs:
        raise source.error(("input", "name"), "the graph has no input: export the image as one")
    if inputs[0].name != spec.name:
        raise source.error(
            ("input", "name"),
            f"the graph's inputs are {names}, the manifest says {spec.name!r}: say name: {inputs[0].name}",
        )
    if inputs[0].type != _ORT_TYPES[spec.dtype]:
        raise source.error(
            ("input", "dtype"),
            f"the graph takes {inputs[0].type}, the manifest says {spec.dtype}: {_type_cure(inputs[0].type)}",
        )
    _check_shape(inputs[0].shape, source)


def _type_cure(kind: str) -> str:
    found = next((dtype for dtype, name in _ORT_TYPES.items() if name == kind), None)
    if found is not None:
        return f"say dtype: {found}"
    return "export it with a float32, float16 or uint8 input, and a Cast behind it"


def _check_shape(shape: Sequence[Any], source: ManifestFile) -> None:
    spec = source.manifest.input
    fits = len(shape) == 4 and all(not isinstance(n, int) or n == m for n, m in zip(shape, spec.shape, strict=True))
    if fits:
        return
    # Point at the number that differs, if it is in the manifest.
    names_by_axis = (None, None, "height", "width") if spec.layout == "NCHW" else (None, "height", "width", None)
    off = [
        name
        for name, n, m in zip(names_by_axis, shape, spec.shape, strict=False)
        if name and isinstance(n, int) and n != m
    ]
    where = ("input", off[0]) if len(shape) == 4 and len(off) == 1 else ("input",)
    raise source.error(
        where,
        f"the graph takes shape {list(shape)}, the manifest describes {list(spec.shape)}: {_shape_cure(shape, source)}",
    )


def _shape_cure(shape: Sequence[Any], source: ManifestFile) -> str:
    spec = source.manifest.input
    if len(shape) != 4:
        return "export it for images, with 4 axes: (n, channels, height, width) or (n, height, width, channels)"
    if isinstance(shape[0], int) and shape[0] != 1:
        return "export it for a batch of one (dynamic_axes={}, an example of one image), or with a free first axis"
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    layout = "NHWC" if last and not first else "NCHW" if first and not last else spec.layout
    if layout != spec.layout:
        return f"say layout: {layout}"
    channels, height, width = (shape[1], *shape[2:]) if layout == "NCHW" else (shape[3], *shape[1:3])
    said = []
    if isinstance(width, int) and width != spec.width:
        said.append(f"width: {width}")
    if isinstance(height, int) and height != spec.height:
        said.append(f"height: {height}")
    if isinstance(channels, int) and channels != spec.channels:
        if channels not in (1, 3):
            return f"{channels} channels are not read: export it for 1 (grey) or 3 (rgb, bgr)"
        said.append("colour: grey" if channels == 1 else "colour: rgb (or bgr)")
    return f"say {', '.join(said)}"


def check_outputs(session: ort.InferenceSession, source: ManifestFile) -> None:
    """Compare the outputs that the manifest names with those of the graph.

    Raises
    ------
    ModelPackageError
        If one is missing, or holds no numbers.
    """
    present = {output.name: output.type for output in session.get_outputs()}
    for role, name in source.manifest.outputs.names.items():
        where = ("outputs", "names", role)
        if name not in present:
            has = ", ".join(map(repr, present))
            raise source.error(where, f"the graph has no output {name!r}; it has {has}: name that of the {role}")
        if present[name] not in _NUMERIC:
            cure = "name the output with scores, or export with a Cast to float32"
            if present[name].startswith("seq("):
                cure = "export without ZipMap (skl2onnx: options={'zipmap': False})"
            raise source.error(where, f"output {name!r} is {present[name]}, wanted numbers: {cure}")
