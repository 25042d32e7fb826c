"""Connection to a secured Kafka: the properties file and the files with secrets that environment variables name.

`load.load_client_config` returns settings of librdkafka. They reach every client through
`schemas.settings.KafkaSettings`.
"""
