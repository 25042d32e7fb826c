"""Trial reading of batches in a child process with limits, which dies of a batch in place of its parent."""
