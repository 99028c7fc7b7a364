{#-
    A mart's day adds up to what silver holds of it: volume and extremes of the 1m candles and the sum of the funding
    rates, and no day is missing or invented. Markets published after this build's pin come with the next one.
-#}

with

parts as (

    select
        exchange,
        symbol,
        {{ utc_day('open_time') }} as market_date,
        volume,
        high,
        low,
        null as funding_rate

    from {{ ref('market_data') }}

    where timeframe = '1m'

    union all

    select
        exchange,
        symbol,
        {{ utc_day('funding_time') }} as market_date,
        null as volume,
        null as high,
        null as low,
        funding_rate

    from {{ ref('funding_rates') }}

),

silver as (

    select
        exchange,
        symbol,
        market_date,
        sum(volume) as volume,
        max(high) as high,
        min(low) as low,
        sum(funding_rate) as funding_rate_sum

    from parts

    group by exchange, symbol, market_date

),

mart as (

    select
        exchange,
        symbol,
        market_date,
        volume,
        high,
        low,
        funding_rate_sum

    from {{ ref('mart_market_daily') }}

),

differing as (

    {{ difference('silver', 'mart') }}

)

select * from differing
where not {{ is_published_later('differing', ['exchange', 'symbol']) }}
