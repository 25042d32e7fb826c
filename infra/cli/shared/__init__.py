"""Parts that commands share: options, times, terminal text, shutdown."""
