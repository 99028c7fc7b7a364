{#- What the walk left to simple formulas; on-balance volume is completed by market_data_enriched. -#}
{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select
    symbol,
    timeframe,
    open_time,
    exchange,
    market_type,
    source,
    candidate_count,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trade_count,
    taker_buy_volume,
    previous_open_time,
    has_gap_before,
    has_gap_in_window,
    is_settled,
    close::double precision / previous_close - 1 as simple_return,
    ln(close::double precision / previous_close) as log_return,
    sma_20,
    sma_50,
    sma_200,
    ema_12,
    ema_26,
    ema_50,
    ema_200,
    rsi_14,
    macd_line,
    macd_signal,
    macd_line - macd_signal as macd_histogram,
    sma_20 as bb_middle,
    sma_20 + 2 * bb_deviation as bb_upper,
    sma_20 - 2 * bb_deviation as bb_lower,
    (close::double precision - (sma_20 - 2 * bb_deviation))
    / nullif(4 * bb_deviation, 0) as bb_percent_b,
    4 * bb_deviation / sma_20 as bb_bandwidth,
    true_range,
    atr_14,
    100 * atr_14 / close::double precision as natr_14,
    plus_di_14,
    minus_di_14,
    adx_14,
    stoch_k,
    stoch_d,
    cci_20,
    williams_r_14,
    roc_10,
    mfi_14,
    block_start,
    obv_in_block,
    vwap_day,
    vwap_20,
    return_deviation_20 * {{ year_root('timeframe') }} as realized_volatility_20,
    case
        when adx_14 is null or natr_mean_100 is null then null
        when adx_14 >= 25 then 'trend'
        when 100 * atr_14 / close::double precision >= 1.5 * natr_mean_100
            then 'volatile'
        else 'range'
    end as market_regime,
    case
        when plus_di_14 > minus_di_14 then 'up'
        when plus_di_14 < minus_di_14 then 'down'
    end as trend_direction,
    publication_id

from {{ ref('market_data_indicators') }}
