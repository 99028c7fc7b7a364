{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select
    exchange,
    market_type,
    symbol,
    exchange_symbol,
    funding_time,
    funding_time_raw,
    funding_interval_hours as stated_interval_hours,
    funding_rate,
    mark_price,
    source,
    revision,
    received_at,
    known_at

from {{ source('bronze', 'funding_rates') }}
