"""Report: one HTML file for a person who has to find out why parts are misjudged."""

from replay.report.cards import Card
from replay.report.gallery import Gallery, Section
from replay.report.make import make_report
from replay.report.page import write_report
from replay.report.sentences import DataQuality

__all__ = ["Card", "DataQuality", "Gallery", "Section", "make_report", "write_report"]
