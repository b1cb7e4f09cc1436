"""The store: all verbs on one object. Each base class is one file and one concern."""

from status.store.creation import Creation
from status.store.presence import Presence
from status.store.reported import Reported
from status.store.resources import Resources
from status.store.running import Running
from status.store.sweeping import Sweeping


class Store(Creation, Running, Presence, Sweeping, Reported, Resources):
    """`Store.open(url)` connects lazily; `close()` when done. Every verb may raise `StoreUnavailable`."""
