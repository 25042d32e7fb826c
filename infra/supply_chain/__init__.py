"""Supply chain: what is shipped, as a bill of materials, and what is known to be wrong with it."""
