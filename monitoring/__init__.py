"""Statistics about a line: drift of images and of labels, quality by decisions and labels. No Kafka, no asyncio."""
