"""Workers: Faust apps that answer every frame. The one place that knows Faust."""

from stream_processors.overload import Overload, OverloadPolicy
from stream_processors.settings import WorkerSettings

__all__ = ["Overload", "OverloadPolicy", "WorkerSettings"]
