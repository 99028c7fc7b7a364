{#- Silver holds a row for each chosen candle and none beside; markets published after this build's pin come later. -#}

with

later as (

    select distinct
        symbol,
        timeframe

    from {{ ref('stg_ops__publications') }}

    where dataset = 'ohlcv' and publication_id > {{ pinned_publication_id() }}

),

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

    (
        select * from candles
        except
        select * from indicators
    )
    union all
    (
        select * from indicators
        except
        select * from candles
    )

)

select * from differing
where
    not exists (
        select 1
        from later
        where later.symbol = differing.symbol and later.timeframe = differing.timeframe
    )
