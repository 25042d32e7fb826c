"""Demo of a whole line on one machine: broker, topics, worker, cameras, gate, and the result of the run."""
