"""The past: what the topics hold, accounted for; and labels, which say how right it was."""

from replay.audit import Audit
from replay.audit_books import CameraAudit
from replay.label_csv import labels_from_csv
from replay.labels import LabelError, make_label, publish_labels
from replay.topic_reader import TopicMessage, TopicRange, read_topic

__all__ = [
    "Audit",
    "CameraAudit",
    "LabelError",
    "TopicMessage",
    "TopicRange",
    "labels_from_csv",
    "make_label",
    "publish_labels",
    "read_topic",
]
