"""Token of an OAuth client for aiokafka; librdkafka fetches its own.

Source: client credentials grant, RFC 6749, section 4.4.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping

from schemas.settings import KafkaSettings

_TIMEOUT_S = 5.0
_TOKENS = "sasl.oauthbearer."


def fetch_token(kafka: KafkaSettings) -> str:
    """Return a new token from the server that the settings name.

    Raises
    ------
    OSError
        If the server does not answer, is not believed, or refuses the client.
    """
    client: Mapping[str, str] = dict(kafka.client)
    form = {"grant_type": "client_credentials"}
    if scope := client.get(f"{_TOKENS}scope"):
        form["scope"] = scope
    login = f"{client[f'{_TOKENS}client.id']}:{client[f'{_TOKENS}client.secret']}"
    request = urllib.request.Request(
        client[f"{_TOKENS}token.endpoint.url"],
        urllib.parse.urlencode(form).encode(),
        {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
    )
    authorities = client.get("https.ca.location")
    context = ssl.create_default_context(cafile=None if authorities == "probe" else authorities)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:
            return str(json.load(answer)["access_token"])
    except (ValueError, KeyError, TypeError) as error:
        raise OSError("the token server does not answer with a token") from error
