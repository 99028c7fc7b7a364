{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select
    publication_id,
    dataset,
    exchange,
    symbol,
    timeframe,
    range_start,
    range_end,
    rows_written,
    rows_deleted,
    published_at

from {{ source('ops', 'publications') }}
