"""The one door to Kafka, stores and disk: clients, readers of topics, image stores, HTTP endpoints, log output."""
