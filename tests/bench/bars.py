"""The bars of a side-by-side run with the original example: what ours must keep in one run, whatever the machine."""

from collections.abc import Mapping

from tests.bench.figures import Bar
from tests.bench.side_by_side import (
    ABORTED,
    ASKED,
    ASKED_NEXT,
    CONTEXT_CHARS,
    CONTEXT_TURNS,
    ENTRIES,
    INVOCATIONS,
    TURNS_PER_SECOND,
    WHOLE_TURN,
    journaled,
)

# By the web server of our service: of ours / the original's, which runs on Hypercorn.
RATIOS: Mapping[str, Mapping[str, Bar]] = {
    "hypercorn": {
        ABORTED: Bar(at_most=1.0),
        ASKED_NEXT: Bar(at_most=1.0),
        ASKED: Bar(at_most=0.95),
        WHOLE_TURN: Bar(at_most=0.95),
        TURNS_PER_SECOND: Bar(at_least=1.15),
    },
    "granian": {
        ABORTED: Bar(at_most=0.95),
        ASKED_NEXT: Bar(at_most=0.9),
        WHOLE_TURN: Bar(at_most=0.8),
        TURNS_PER_SECOND: Bar(at_least=1.4),
    },
}

# Of ours alone.
OWN: Mapping[str, Bar] = {
    INVOCATIONS: Bar(at_most=3),
    ENTRIES: Bar(at_most=25),
    # One SetState of the context, not the three copies of a context that is sent as well.
    **{journaled(turns): Bar(at_most=1.3 * CONTEXT_CHARS / 1000) for turns in CONTEXT_TURNS},
}
