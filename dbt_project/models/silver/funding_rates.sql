{{ config(materialized='view') }}

with

events as (

    select * from {{ ref('stg_bronze__funding_rates') }}

),

timed as (

    select
        exchange,
        market_type,
        symbol,
        exchange_symbol,
        funding_time,
        funding_time_raw,
        funding_rate,
        mark_price,
        source,
        lag(funding_time) over (partition by exchange, symbol order by funding_time) as previous_funding_time,
        stated_interval_hours

    from events

),

derived as (

    select
        *,
        extract(epoch from funding_time - previous_funding_time)::double precision / 3600 as interval_hours

    from timed

)

select * from derived
