{#- Silver holds a row for each chosen candle and none beside; markets published after this build's pin come later. -#}

with

candles as (

    select
        symbol,
        timeframe,
        count(*) as row_count,
        max(open_time) as newest

    from {{ ref('int_market_data_chosen') }}

    group by symbol, timeframe

),

indicators as (

    select
        symbol,
        timeframe,
        count(*) as row_count,
        max(open_time) as newest

    from {{ ref('market_data_indicators') }}

    group by symbol, timeframe

),

differing as (

    {{ difference('candles', 'indicators') }}

)

select * from differing
where not {{ is_published_later('differing', ['symbol', 'timeframe'], dataset='ohlcv') }}
