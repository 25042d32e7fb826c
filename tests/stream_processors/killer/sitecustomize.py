"""Makes the image decoder of a process end it, or hang, for the one image that a test names in the environment."""

import hashlib
import os
import signal
import time

if digest := os.environ.get("TEST_DEADLY_SHA256"):
    from models.opencv import cv2

    _decode = cv2.imdecode

    def _deadly(image, *arguments):
        if hashlib.sha256(bytes(image)).hexdigest() == digest:
            {
                "hangs": lambda: time.sleep(1_000),
                "exits": lambda: os._exit(3),
                "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            }[os.environ["TEST_DEADLY_HOW"]]()
        return _decode(image, *arguments)

    cv2.imdecode = _deadly
