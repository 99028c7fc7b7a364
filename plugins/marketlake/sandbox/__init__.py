"""An exchange on this machine that speaks Binance's formats: REST, archives with checksums, faults on demand."""

from marketlake.sandbox.recorded import RecordedMarket
from marketlake.sandbox.server import Sandbox
from marketlake.sandbox.synthetic import SyntheticMarket

__all__ = ["RecordedMarket", "Sandbox", "SyntheticMarket"]
