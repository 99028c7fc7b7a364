{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select
    dataset,
    exchange,
    symbol,
    timeframe,
    day as quality_date,
    expected as expected_rows,
    present as present_rows,
    rejected as rejected_rows

from {{ source('bronze', 'market_day_quality') }}
