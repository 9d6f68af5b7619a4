"""Where a call's time went on the server."""

from typing import NamedTuple


class Times(NamedTuple):
    """Seconds. The three do not overlap; see "The words" in docs/ARCHITECTURE.md."""

    queue_wait: float
    permit_wait: float
    run: float
