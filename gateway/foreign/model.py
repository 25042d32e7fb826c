"""Model as which the line appears to the clients of other servers: its name, its input and its outputs.

Workers choose the model that decides; its real name and version are in the decision. So the name here is fixed, and
the version is that of this interface.

============  ========  =========================================================
tensor        type      meaning
============  ========  =========================================================
``image``     bytes     JPEG, PNG, TIFF or BMP file; the one input, shape ``[n]``
``action``    text      ACCEPT, REJECT or REVIEW
``verdict``   text      OK, NOT_OK or NOT_DECIDABLE
``score``     double    defect score in [0, 1]; NaN or null if the model has none
``frame_id``  text      id of the frame
``decision``  text      the whole decision as JSON
============  ========  =========================================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.outcome import decision_values
from schemas.records import Decision

MODEL, VERSION = "inspection", "1"
INPUT = "image"
#: Outputs, in order: name, and True for a text, False for a number.
OUTPUTS = {"action": True, "verdict": True, "score": False, "frame_id": True, "decision": True}
#: Paths of this model that exist, for texts.
MODEL_PATHS = ("", f"/versions/{VERSION}")


def output_values(name: str, decisions: Sequence[Decision]) -> list[Any]:
    """Return the value of an output for each decision."""
    values = map(decision_values, decisions)
    return [json.dumps(found) if name == "decision" else found[name] for found in values]
