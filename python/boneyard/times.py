"""Parts of a call's time on the server."""

from typing import NamedTuple


class Times(NamedTuple):
    """Seconds. The three do not overlap; see "Terms" in docs/ARCHITECTURE.md."""

    queue_wait: float
    permit_wait: float
    run: float
