"""Correctness of the decisions: labels joined to decisions, error streams, figures with intervals. No Kafka."""
