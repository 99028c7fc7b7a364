"""Which market feeds the lake: chosen at its creation, never changed, so that real and made-up rows never meet."""

from __future__ import annotations

import psycopg

from marketlake.errors import OtherMarketError


def lake_market(connection: psycopg.Connection) -> str | None:
    """Return the market that feeds the lake, `live`, `recorded` or `synthetic:<seed>`; None before the first run."""
    row = connection.execute("select market from ops.lake").fetchone()
    return row[0] if row else None


def claim_market(connection: psycopg.Connection, market: str) -> None:
    """Let this market feed the lake; the first one to ask gets it.

    Raises:
        OtherMarketError: another one feeds it.
    """
    connection.execute("insert into ops.lake (market) values (%s) on conflict (is_only) do nothing", [market])
    owner = lake_market(connection)
    if owner != market:
        raise OtherMarketError(
            f"this lake holds data of the market {owner!r}, but the exchange that answers now is {market!r};"
            " point exchanges.<name>.rest_url at the market of the lake, or choose an empty folder in MARKETLAKE_HOME"
        )
