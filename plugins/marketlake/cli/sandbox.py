"""An exchange on this machine; everything after the name goes to the sandbox's own command line."""

from __future__ import annotations


def forward(rest: list[str]) -> int:
    """Serve until interrupted."""
    from marketlake.sandbox.serve import main

    return main(rest)
