"""What is stored already, as the settings of now would have it.

Owns bringing a stored event down to a level, and the names of a project.
Promises that what was stored at the present level, or at a stricter one, stays as it is to the
byte.
Leaves finding and changing rows to whoever forgets or scrubs, the levels to ``sanitise.py``.
"""

from typing import Final

import orjson

from blueplane.capture.platforms import find_platform
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.sanitise import MAX_PROJECT_CHARS, Sanitiser
from blueplane.capture.workspace import normalise
from blueplane.config import PrivacySettings

_STRICT: Final = PrivacySettings("strict", hash_project_names=False)


class Renewal:
    """Renews by the privacy settings of now, with the pseudonyms of one install."""

    def __init__(self, privacy: PrivacySettings, secret: bytes) -> None:
        self._now = make_sanitiser(privacy, secret)
        self._strict = make_sanitiser(_STRICT, secret)
        self._pseudonyms = Pseudonyms(secret)
        self._hash_project_names = privacy.hash_project_names

    def renew(self, event: bytes, platform: str) -> bytes:
        """Bring an event, ``{"metadata": ..., "payload": ...}``, down to the present level."""
        return _at(self._now, event, platform)

    def strictly(self, event: bytes, platform: str) -> bytes:
        """Bring a stored event down to ``strict``."""
        return _at(self._strict, event, platform)

    def project_names(self, project: str) -> tuple[str, ...]:
        """Return every name under which a project may be stored: in clear, and hashed."""
        name = normalise(project)[:MAX_PROJECT_CHARS]
        return name, self._pseudonyms.name("n:", name)

    def shown_project(self, stored: str) -> str:
        """Return the name that a stored project has now."""
        return self._pseudonyms.name("n:", stored) if self._hash_project_names else stored

    def shown(self, key: str, stored: str) -> str:
        """Return what a text under a key of payloads is now; "" where only its length is kept.

        No level gives what was hashed another name.
        """
        kept = orjson.loads(self._now.payload({key: stored}))[key]
        return kept if isinstance(kept, str) else ""

    def shows_prompts(self) -> bool:
        """Whether the texts of prompts are stored now."""
        return self._now.level == "full"


def make_sanitiser(privacy: PrivacySettings, secret: bytes) -> Sanitiser:
    """Return the sanitiser of these settings."""
    return Sanitiser(privacy.level, secret, hash_project_names=privacy.hash_project_names)


def _at(sanitiser: Sanitiser, event: bytes, platform: str) -> bytes:
    parts = orjson.loads(event)
    metadata = parts["metadata"]
    own_keys = find_platform(platform).own_keys
    payload = sanitiser.payload(parts["payload"], metadata.get("tool_name", ""), own_keys)
    kept = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
    return b'{"metadata":%b,"payload":%b}' % (kept, payload)
