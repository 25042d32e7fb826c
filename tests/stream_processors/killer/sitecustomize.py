"""Image decoder that ends its process, or hangs, for the one image that a test names in the environment."""

import hashlib
import os
import signal
import time

if digest := os.environ.get("TEST_DEADLY_SHA256"):
    import models.images

    _decode = models.images.decode

    def _deadly(data, **options):
        if hashlib.sha256(data).hexdigest() == digest:
            {
                "hangs": lambda: time.sleep(1_000),
                "exits": lambda: os._exit(3),
                "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            }[os.environ["TEST_DEADLY_HOW"]]()
        return _decode(data, **options)

    # Before any other module takes the name from there.
    models.images.decode = _deadly
