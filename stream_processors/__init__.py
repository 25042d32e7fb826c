"""Workers: Faust apps that answer every frame. Only this package imports Faust."""

from stream_processors.overload import Overload, OverloadPolicy
from stream_processors.settings import WorkerSettings

__all__ = ["Overload", "OverloadPolicy", "WorkerSettings"]
