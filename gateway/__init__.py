"""HTTP gateway: an image in, a decision out, with the whole line behind it.

The gateway publishes like a camera and reads decisions like a gate. It needs the extra ``gateway``.
"""
