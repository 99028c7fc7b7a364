{{ config(materialized='view') }}

with

measured as (

    select * from {{ ref('int_market_data_measured') }}

),

blocks as (

    select * from {{ ref('market_data_indicators') }}
    where state_before is not null

),

obv_bases as (

    -- The first row of a block holds the on-balance volume of the block before; their sum is where the block begins.
    select
        symbol,
        timeframe,
        block_start,
        sum(state_before[17]) over (
            partition by symbol, timeframe
            order by block_start
        ) as obv_base

    from blocks

),

enriched as (

    select
        measured.symbol,
        measured.timeframe,
        measured.open_time,
        measured.exchange,
        measured.market_type,
        measured.source,
        measured.candidate_count,
        measured.open,
        measured.high,
        measured.low,
        measured.close,
        measured.volume,
        measured.quote_volume,
        measured.trade_count,
        measured.taker_buy_volume,
        measured.previous_open_time,
        measured.has_gap_before,
        measured.has_gap_in_window,
        measured.is_settled,
        measured.simple_return,
        measured.log_return,
        measured.sma_20,
        measured.sma_50,
        measured.sma_200,
        measured.ema_12,
        measured.ema_26,
        measured.ema_50,
        measured.ema_200,
        measured.rsi_14,
        measured.macd_line,
        measured.macd_signal,
        measured.macd_histogram,
        measured.bb_middle,
        measured.bb_upper,
        measured.bb_lower,
        measured.bb_percent_b,
        measured.bb_bandwidth,
        measured.true_range,
        measured.atr_14,
        measured.natr_14,
        measured.plus_di_14,
        measured.minus_di_14,
        measured.adx_14,
        measured.stoch_k,
        measured.stoch_d,
        measured.cci_20,
        measured.williams_r_14,
        measured.roc_10,
        measured.mfi_14,
        obv_bases.obv_base + measured.obv_in_block as obv,
        measured.vwap_day,
        measured.vwap_20,
        measured.realized_volatility_20,
        measured.market_regime,
        measured.trend_direction

    from measured
    left join obv_bases
        on
            measured.symbol = obv_bases.symbol
            and measured.timeframe = obv_bases.timeframe
            and measured.block_start = obv_bases.block_start

)

select * from enriched
