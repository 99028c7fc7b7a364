with

events as (

    select * from {{ source('bronze', 'funding_rates') }}

),

renamed as (

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

    from events

)

select * from renamed
