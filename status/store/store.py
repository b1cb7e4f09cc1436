"""The store: all verbs on one object. Each base class is one file and one concern."""

from status.store.api_keys import ApiKeys
from status.store.attachments import Attachments
from status.store.creation import Creation
from status.store.described import Described
from status.store.presence import Presence
from status.store.reported import Reported
from status.store.retention import Retention
from status.store.running import Running
from status.store.skills import Skills
from status.store.sweeping import Sweeping


class Store(Creation, Running, Presence, Sweeping, Reported, Described, Skills, ApiKeys, Retention, Attachments):
    """`Store.open(url)` connects lazily; `close()` when done. Every verb may raise `StoreUnavailable`."""
