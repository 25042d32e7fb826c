"""Inspection of image files, without Kafka, by the same function as the line: files in, rows out."""
