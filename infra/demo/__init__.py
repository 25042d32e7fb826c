"""The whole line on one machine: broker, topics, worker, cameras, gate, and what came of it."""
