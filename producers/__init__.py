"""Input from cameras: a device, a file or a data set becomes frames on Kafka.

The data path is ``camera`` -> ``runner`` -> ``publisher`` (``encoding``, ``message``, ``handover``).
"""

from producers.camera import Camera, Capture
from producers.message import PublishedFrame
from producers.options import CameraIdentity, PublisherOptions
from producers.plugins import load_camera
from producers.publisher import FramePublisher
from producers.runner import CameraJob, CameraReport, run_camera, run_cameras
from producers.stats import PublisherMetrics, PublisherStats

__all__ = [
    "Camera",
    "CameraIdentity",
    "CameraJob",
    "CameraReport",
    "Capture",
    "FramePublisher",
    "PublishedFrame",
    "PublisherMetrics",
    "PublisherOptions",
    "PublisherStats",
    "load_camera",
    "run_camera",
    "run_cameras",
]
