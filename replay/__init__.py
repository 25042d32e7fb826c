"""The past: what the topics hold, accounted for."""

from replay.audit import Audit
from replay.audit_books import CameraAudit
from replay.topic_reader import TopicMessage, TopicRange, read_topic

__all__ = ["Audit", "CameraAudit", "TopicMessage", "TopicRange", "read_topic"]
