"""Image decoder that ends its process, or hangs, for the one image that a test names in the environment."""

import hashlib
import os
import signal
import time

if digest := os.environ.get("TEST_DEADLY_SHA256"):
    import models.frame_pixels

    _decoding = models.frame_pixels.decoding

    def _is_first():
        try:
            open(os.environ["TEST_DEADLY_MARK"], "x").close()
        except FileExistsError:
            return False
        return True

    def _deadly(data, **options):
        if hashlib.sha256(data).hexdigest() == digest:
            {
                "hangs": lambda: time.sleep(1_000),
                "exits": lambda: os._exit(3),
                "is killed once": lambda: _is_first() and os.kill(os.getpid(), signal.SIGKILL),
                "ends well once": lambda: _is_first() and os._exit(0),
                "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            }[os.environ["TEST_DEADLY_HOW"]]()
        return _decoding(data, **options)

    models.frame_pixels.decoding = _deadly
