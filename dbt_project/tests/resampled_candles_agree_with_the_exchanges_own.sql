{{ config(severity='warn') }}

{#-
    Candles made of all their base candles equal those that the exchange gives. It warns: a difference says that one of
    two true answers was restated or is wrong, not which, and it is no fault of the build. Markets published after this
    build's pin come with the next one.
-#}

select *
from {{ ref('resampling_disagreements') }} as disagreement
where
    is_complete
    and not {{ is_published_later('disagreement', ['exchange', 'symbol'], dataset='ohlcv') }}
