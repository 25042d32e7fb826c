"""Frozen backbone of `inspection train`: EfficientNet-Lite0 with ImageNet weights, as one ONNX file."""
