"""All that touches the internals of Faust: process, consumer, transport with bounded memory."""
