{{ config(materialized='view') }}

with

indicators as (

    select * from {{ ref('market_data_indicators') }}

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

    from indicators

    where state_before is not null

),

enriched as (

    select
        indicators.symbol,
        indicators.timeframe,
        indicators.open_time,
        indicators.exchange,
        indicators.market_type,
        indicators.source,
        indicators.candidate_count,
        indicators.open,
        indicators.high,
        indicators.low,
        indicators.close,
        indicators.volume,
        indicators.quote_volume,
        indicators.trade_count,
        indicators.taker_buy_volume,
        indicators.previous_open_time,
        indicators.has_gap_before,
        indicators.has_gap_in_window,
        indicators.is_settled,
        indicators.close::double precision / indicators.previous_close - 1 as simple_return,
        ln(indicators.close::double precision / indicators.previous_close) as log_return,
        indicators.sma_20,
        indicators.sma_50,
        indicators.sma_200,
        indicators.ema_12,
        indicators.ema_26,
        indicators.ema_50,
        indicators.ema_200,
        indicators.rsi_14,
        indicators.macd_line,
        indicators.macd_signal,
        indicators.macd_line - indicators.macd_signal as macd_histogram,
        indicators.sma_20 as bb_middle,
        indicators.sma_20 + 2 * indicators.bb_deviation as bb_upper,
        indicators.sma_20 - 2 * indicators.bb_deviation as bb_lower,
        (indicators.close::double precision - (indicators.sma_20 - 2 * indicators.bb_deviation))
        / nullif(4 * indicators.bb_deviation, 0) as bb_percent_b,
        4 * indicators.bb_deviation / indicators.sma_20 as bb_bandwidth,
        indicators.true_range,
        indicators.atr_14,
        100 * indicators.atr_14 / indicators.close::double precision as natr_14,
        indicators.plus_di_14,
        indicators.minus_di_14,
        indicators.adx_14,
        indicators.stoch_k,
        indicators.stoch_d,
        indicators.cci_20,
        indicators.williams_r_14,
        indicators.roc_10,
        indicators.mfi_14,
        obv_bases.obv_base + indicators.obv_in_block as obv,
        indicators.vwap_day,
        indicators.vwap_20,
        indicators.return_deviation_20 * {{ year_root('indicators.timeframe') }} as realized_volatility_20,
        case
            when indicators.adx_14 is null or indicators.natr_mean_100 is null then null
            when indicators.adx_14 >= 25 then 'trend'
            when 100 * indicators.atr_14 / indicators.close::double precision >= 1.5 * indicators.natr_mean_100
                then 'volatile'
            else 'range'
        end as market_regime,
        case
            when indicators.plus_di_14 > indicators.minus_di_14 then 'up'
            when indicators.plus_di_14 < indicators.minus_di_14 then 'down'
        end as trend_direction,
        indicators.publication_id

    from indicators
    left join obv_bases
        on
            indicators.symbol = obv_bases.symbol
            and indicators.timeframe = obv_bases.timeframe
            and indicators.block_start = obv_bases.block_start

)

select * from enriched
