"""A token server on loopback: it gives signed tokens to a client that knows the secret (OAuth 2.0, RFC 6749, 4.4)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE, ISSUER = "kafka.plant", "http://sso.plant"
_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class TokenServer:
    """Token server with one client.

    Parameters
    ----------
    folder
        Folder for the public key, which the broker reads.
    client, secret
        Id and secret of the client; the id is the name of the user in Kafka.
    """

    def __init__(self, folder: Path, client: str, secret: str) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._client, self._secret = client, secret
        numbers = self._key.public_key().public_numbers()
        n, e = (_text(value.to_bytes((value.bit_length() + 7) // 8)) for value in (numbers.n, numbers.e))
        self._keys = folder / "jwks.json"
        keys = [{"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": n, "e": e}]
        self._keys.write_text(json.dumps({"keys": keys}))
        self.url = ""
        #: Requests that were answered with a token, and others.
        self.given = self.refused = 0

    @property
    def broker_lines(self) -> list[str]:
        """Lines of ``server.properties`` with which a broker believes the tokens."""
        listener = "listener.name.sasl_ssl"
        return [
            f"{listener}.oauthbearer.sasl.jaas.config={_MODULE} required;",
            f"{listener}.oauthbearer.sasl.server.callback.handler.class={_VALIDATOR}",
            f"sasl.oauthbearer.jwks.endpoint.url={self._keys.as_uri()}",
            f"sasl.oauthbearer.expected.audience={AUDIENCE}",
            f"sasl.oauthbearer.expected.issuer={ISSUER}",
        ]

    @property
    def java_options(self) -> list[str]:
        """Options of the JVM that allow the file of the public key."""
        return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys.as_uri()}"]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve tokens."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = outer._answer(self.headers.get("Authorization", ""))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/token"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield
            server.shutdown()
            thread.join()

    def _answer(self, authorization: str) -> tuple[int, dict[str, Any]]:
        expected = base64.b64encode(f"{self._client}:{self._secret}".encode()).decode()
        if authorization != f"Basic {expected}":
            self.refused += 1
            return 401, {"error": "invalid_client"}
        self.given += 1
        now_s = int(time.time())
        claims = {"sub": self._client, "aud": AUDIENCE, "iss": ISSUER, "iat": now_s, "exp": now_s + 300}
        head = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return 200, {"access_token": f"{signed}.{_text(signature)}", "token_type": "Bearer", "expires_in": 300}
