"""How right the decisions were: labels joined to decisions, error streams watched, figures with intervals. No Kafka."""
