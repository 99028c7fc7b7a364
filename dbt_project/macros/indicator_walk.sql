{#-
    One pass over the candles of one market and timeframe, oldest first, that computes every indicator. Definitions and
    start values are those of the specification (TRF-07), which are TA-Lib's; `t` counts candles from the market's first.
    A mean of the first n values and the smoothing after it are one formula: a running mean whose weight stops falling.

    Two functions share this body. `silver.indicator_walk` reads the chosen candles itself, goes on from stored state and
    stops where its own state agrees with the stored one; `silver.indicator_walk_of` takes the candles as arrays, starts
    at the first one and keeps nothing.

    `state_before` is written at the first candle of each block of grid slots: the recursions as they were before that
    candle. Rolling sums start afresh there, so a walk from a block's start gives the very doubles of a walk from the
    market's first candle. Short windows are summed afresh at each candle, in time order, by `windowed_candles`.
-#}

{#- Where the functions live. -#}
{% macro walk_schema() %}silver{% endmacro %}

{#- Grid slots of a block. -#}
{% macro block_slots() %}1024{% endmacro %}

{#- How far back a row looks: candles that a restart reads again, to fill sma_200 and the gap flag. -#}
{% macro look_back_candles() %}200{% endmacro %}

{#- The start of the block of grid slots that an instant lies in. -#}
{% macro block_start(instant, timeframe) -%}
    {{ slot_start(instant, block_slots() ~ ' * ' ~ timeframe_length(timeframe)) }}
{%- endmacro %}

{#- The columns that a walk computes, in order: name and type. -#}
{% macro walk_columns() %}
    {% do return([
        ('previous_open_time', 'timestamptz'), ('previous_close', 'double precision'),
        ('has_gap_before', 'boolean'), ('has_gap_in_window', 'boolean'), ('is_settled', 'boolean'),
        ('sma_20', 'double precision'), ('sma_50', 'double precision'), ('sma_200', 'double precision'),
        ('ema_12', 'double precision'), ('ema_26', 'double precision'),
        ('ema_50', 'double precision'), ('ema_200', 'double precision'),
        ('rsi_14', 'double precision'),
        ('macd_line', 'double precision'), ('macd_signal', 'double precision'),
        ('bb_deviation', 'double precision'),
        ('true_range', 'double precision'), ('atr_14', 'double precision'),
        ('plus_di_14', 'double precision'), ('minus_di_14', 'double precision'), ('adx_14', 'double precision'),
        ('stoch_k', 'double precision'), ('stoch_d', 'double precision'),
        ('cci_20', 'double precision'), ('williams_r_14', 'double precision'), ('roc_10', 'double precision'),
        ('mfi_14', 'double precision'), ('obv_in_block', 'double precision'),
        ('vwap_day', 'double precision'), ('vwap_20', 'double precision'),
        ('return_deviation_20', 'double precision'), ('natr_mean_100', 'double precision'),
        ('block_start', 'timestamptz'), ('state_before', 'double precision[]'),
    ]) %}
{% endmacro %}

{#- The columns of a candle that `silver.indicator_walk` hands on as they are: name and type. -#}
{% macro carried_columns() %}
    {% do return([
        ('exchange', 'text'), ('market_type', 'text'),
        ('open', 'numeric'), ('high', 'numeric'), ('low', 'numeric'), ('close', 'numeric'),
        ('volume', 'numeric'), ('quote_volume', 'numeric'), ('trade_count', 'bigint'),
        ('taker_buy_volume', 'numeric'), ('source', 'text'), ('candidate_count', 'bigint'),
    ]) %}
{% endmacro %}

{#- The candles of a query, in time order, with their neighbours and what short windows give. -#}
{% macro windowed_candles(carried) %}
        select
            {%- for name, _ in carried %}
            moved.{{ name }},
            {%- endfor %}
            moved.open_time,
            moved.previous_open_time,
            moved.oldest_open_time,
            moved.high_price,
            moved.low_price,
            moved.close_price,
            moved.base_volume,
            moved.quote_value,
            moved.typical_price,
            moved.close_move,
            moved.close_10_before,
            sum(moved.close_price) over last_20 / 20,
            stddev_pop(moved.close_price) over last_20,
            sum(moved.typical_price) over last_20 / 20,
            sum(moved.base_volume) over last_20,
            sum(moved.quote_value) over last_20,
            stddev_samp(moved.log_return) over last_20,
            max(moved.high_price) over last_14,
            min(moved.low_price) over last_14,
            sum(moved.flow) over last_14,
            sum(abs(moved.flow)) over last_14
        from (
            select
                plain.*,
                lag(plain.open_time) over series as previous_open_time,
                coalesce(
                    lag(plain.open_time, {{ look_back_candles() }} - 1) over series,
                    first_value(plain.open_time) over series
                ) as oldest_open_time,
                lag(plain.close_price, 10) over series as close_10_before,
                ln(plain.close_price / lag(plain.close_price) over series) as log_return,
                coalesce(sign(plain.close_exact - lag(plain.close_exact) over series), 1)::double precision as close_move,
                plain.typical_price * plain.base_volume
                * sign(plain.typical_exact - lag(plain.typical_exact) over series)::double precision as flow
            from (
                select
                    {%- for name, _ in carried %}
                    candles.{{ name }},
                    {%- endfor %}
                    candles.open_time,
                    candles.high::double precision as high_price,
                    candles.low::double precision as low_price,
                    candles.close::double precision as close_price,
                    candles.volume::double precision as base_volume,
                    (candles.high::double precision + candles.low::double precision + candles.close::double precision)
                    / 3 as typical_price,
                    coalesce(
                        candles.quote_volume::double precision,
                        (candles.high + candles.low + candles.close)::double precision
                        / 3 * candles.volume::double precision
                    ) as quote_value,
                    candles.close as close_exact,
                    -- Ties of typical prices are decided on exact decimals: sums of doubles round differently.
                    candles.high + candles.low + candles.close as typical_exact
                from candles
            ) as plain
            window series as (order by plain.open_time)
        ) as moved
        window
            last_20 as (order by moved.open_time rows between 19 preceding and current row),
            last_14 as (order by moved.open_time rows between 13 preceding and current row)
        order by moved.open_time
{% endmacro %}

{#- Weights of the running means at candle t; constant after the longest window. -#}
{% macro walk_weights() %}
            weight_12 := case when t < 12 then 1.0 / (t + 1) else 2.0 / 13 end;
            weight_26 := case when t < 26 then 1.0 / (t + 1) else 2.0 / 27 end;
            weight_50 := case when t < 50 then 1.0 / (t + 1) else 2.0 / 51 end;
            weight_200 := case when t < 200 then 1.0 / (t + 1) else 2.0 / 201 end;
            weight_fast := case when t < 14 then 0 when t < 26 then 1.0 / (t - 13) else 2.0 / 13 end;
            weight_signal := case when t < 25 then 0 when t < 34 then 1.0 / (t - 24) else 0.2 end;
            weight_wilder := case when t < 1 then 0 else 1.0 / least(t, 14) end;
            weight_adx := case when t < 14 then 0 else 1.0 / least(t - 13, 14) end;
            kept_share := case when t < 14 then 1 else 13.0 / 14 end;
{% endmacro %}

{#- The statements that compute one candle's indicators from the variables of `walk_variables`. -#}
{% macro walk_step() %}
            if t <= {{ look_back_candles() }} then
                if t = 0 then
                    previous_close := close_price;
                    previous_high := high_price;
                    previous_low := low_price;
                end if;
                {{ walk_weights() }}
            end if;

            change := close_price - previous_close;
            gain := gain + (greatest(change, 0) - gain) * weight_wilder;
            loss := loss + (greatest(-change, 0) - loss) * weight_wilder;
            rsi_14 := case when gain + loss > 0 then 100 * gain / (gain + loss) else 0 end;

            ema_12 := ema_12 + (close_price - ema_12) * weight_12;
            ema_26 := ema_26 + (close_price - ema_26) * weight_26;
            ema_50 := ema_50 + (close_price - ema_50) * weight_50;
            ema_200 := ema_200 + (close_price - ema_200) * weight_200;
            fast := fast + (close_price - fast) * weight_fast;
            macd_line := fast - ema_26;
            macd_signal := macd_signal + (macd_line - macd_signal) * weight_signal;

            true_range := greatest(
                high_price - low_price, abs(high_price - previous_close), abs(low_price - previous_close)
            );
            atr_14 := atr_14 + (true_range - atr_14) * weight_wilder;
            up := high_price - previous_high;
            down := previous_low - low_price;
            plus_movement := plus_movement * kept_share + case when up > down and up > 0 then up else 0 end;
            minus_movement := minus_movement * kept_share + case when down > up and down > 0 then down else 0 end;
            range_sum := range_sum * kept_share + case when t > 0 then true_range else 0 end;
            plus_di_14 := case when range_sum > 0 then 100 * plus_movement / range_sum else 0 end;
            minus_di_14 := case when range_sum > 0 then 100 * minus_movement / range_sum else 0 end;
            if plus_di_14 + minus_di_14 > 0 then
                adx_14 := adx_14
                    + (100 * abs(plus_di_14 - minus_di_14) / (plus_di_14 + minus_di_14) - adx_14) * weight_adx;
            elsif t < 28 then
                adx_14 := adx_14 - adx_14 * weight_adx;
            end if;

            raw_k := case
                when highest_14 > lowest_14 then 100 * (close_price - lowest_14) / (highest_14 - lowest_14) else 0
            end;
            williams_r_14 := case
                when highest_14 > lowest_14 then -100 * (highest_14 - close_price) / (highest_14 - lowest_14) else 0
            end;
            stoch_k := (raw_k_2 + raw_k_1 + raw_k) / 3;
            stoch_d := (stoch_k_2 + stoch_k_1 + stoch_k) / 3;

            typicals[t & 31] := typical_price;
            deviation := (
                {%- for back in range(19, -1, -1) %}
                {{ '+ ' if not loop.first }}abs(typicals[(t - {{ back }}) & 31] - mean_typical_20)
                {%- endfor %}
            ) / 20;
            cci_20 := case when deviation > 0 then (typical_price - mean_typical_20) / (0.015 * deviation) else 0 end;
            roc_10 := 100 * (close_price / close_10_before - 1);
            mfi_14 := case when flow_14 > 0 then 50 * (flow_14 + net_flow_14) / flow_14 else 0 end;
            obv_in_block := obv_in_block + close_move * base_volume;

            if open_time >= day_end then
                day_end := date_trunc('day', open_time, 'UTC') + interval '1 day';
                day_volume := 0;
                day_value := 0;
            end if;
            day_volume := day_volume + base_volume;
            day_value := day_value + quote_value;
            vwap_day := case when day_volume > 0 then day_value / day_volume end;
            vwap_20 := case when volume_20 > 0 then quote_value_20 / volume_20 end;

            sum_50 := sum_50 + close_price - closes[(t - 50) & 255];
            sum_200 := sum_200 + close_price - closes[(t - 200) & 255];
            closes[t & 255] := close_price;
            sma_50 := sum_50 / 50;
            sma_200 := sum_200 / 200;

            natr := case when t < 14 then 0 else 100 * atr_14 / close_price end;
            natr_mean_100 := natr_sum / 100;
            natr_sum := natr_sum + natr - natrs[(t - 100) & 127];
            natrs[t & 127] := natr;

            has_gap_before := previous_open_time is not null and open_time - previous_open_time > candle_length;
            has_gap_in_window := open_time - oldest_open_time > longest_window;
            is_settled := t >= 400;
{% endmacro %}

{#- Hand out the row: until the longest window is full, without what is not defined yet. -#}
{% macro walk_return_row() %}
            if t < {{ look_back_candles() }} then
                has_gap_in_window := open_time - oldest_open_time > t * candle_length;
                defined := array[ema_12, ema_26, ema_50, ema_200, macd_signal, atr_14, adx_14, stoch_k];
                {%- for first, names in [
                    (1, ['previous_close', 'true_range']),
                    (10, ['roc_10']),
                    (11, ['ema_12']),
                    (13, ['williams_r_14']),
                    (14, ['rsi_14', 'atr_14', 'plus_di_14', 'minus_di_14', 'mfi_14']),
                    (17, ['stoch_k', 'stoch_d']),
                    (19, ['sma_20', 'bb_deviation', 'cci_20', 'vwap_20']),
                    (20, ['return_deviation_20']),
                    (25, ['ema_26']),
                    (27, ['adx_14']),
                    (33, ['macd_line', 'macd_signal']),
                    (49, ['sma_50', 'ema_50']),
                    (114, ['natr_mean_100']),
                    (199, ['sma_200', 'ema_200']),
                ] %}
                if t < {{ first }} then
                    {%- for name in names %}
                    {{ name }} := null;
                    {%- endfor %}
                end if;
                {%- endfor %}
                return next;
                ema_12 := defined[1];
                ema_26 := defined[2];
                ema_50 := defined[3];
                ema_200 := defined[4];
                macd_signal := defined[5];
                atr_14 := defined[6];
                adx_14 := defined[7];
                stoch_k := defined[8];
            else
                return next;
            end if;
{% endmacro %}

{#- Make this candle the previous one. -#}
{% macro walk_step_on() %}
            raw_k_2 := raw_k_1;
            raw_k_1 := raw_k;
            stoch_k_2 := stoch_k_1;
            stoch_k_1 := stoch_k;
            previous_close := close_price;
            previous_high := high_price;
            previous_low := low_price;
            t := t + 1;
{% endmacro %}

{% macro walk_variables() %}
    t integer;
    candle_length interval := {{ timeframe_length('market_timeframe') }};
    longest_window interval := ({{ look_back_candles() }} - 1) * candle_length;
    block_end timestamptz := '-infinity';
    day_end timestamptz := '-infinity';
    -- The candle, in double precision, and its windows.
    oldest_open_time timestamptz;
    {%- for name in [
        'high_price', 'low_price', 'close_price', 'base_volume', 'quote_value', 'typical_price', 'close_move',
        'close_10_before', 'mean_typical_20', 'volume_20', 'quote_value_20', 'highest_14', 'lowest_14', 'net_flow_14',
        'flow_14',
    ] %}
    {{ name }} double precision;
    {%- endfor %}
    -- Weights of the running means; they stop changing after the longest window.
    {%- for name in [
        'weight_12', 'weight_26', 'weight_50', 'weight_200', 'weight_fast', 'weight_signal', 'weight_wilder',
        'weight_adx', 'kept_share',
    ] %}
    {{ name }} double precision;
    {%- endfor %}
    -- What one candle leaves to the next.
    {%- for name in [
        'previous_high', 'previous_low', 'fast', 'gain', 'loss', 'plus_movement', 'minus_movement', 'range_sum',
        'raw_k', 'raw_k_1', 'raw_k_2', 'stoch_k_1', 'stoch_k_2', 'day_volume', 'day_value', 'sum_50', 'sum_200',
        'natr', 'natr_sum',
    ] %}
    {{ name }} double precision;
    {%- endfor %}
    {%- for name in ['change', 'up', 'down', 'deviation'] %}
    {{ name }} double precision;
    {%- endfor %}
    defined double precision[];
    -- Rings: the value of candle t stands at t modulo the ring's length, 0 before the first candle.
    closes double precision[];
    typicals double precision[];
    natrs double precision[];
{% endmacro %}

{% macro walk_start() %}
        t := 0;
        {%- for name in [
            'ema_12', 'ema_26', 'ema_50', 'ema_200', 'fast', 'macd_signal', 'gain', 'loss', 'atr_14', 'plus_movement',
            'minus_movement', 'range_sum', 'adx_14', 'day_volume', 'day_value', 'sum_50', 'sum_200', 'natr_sum',
            'obv_in_block', 'raw_k_1', 'raw_k_2', 'stoch_k_1', 'stoch_k_2',
        ] %}
        {{ name }} := 0;
        {%- endfor %}
        closes := array_fill(0::double precision, array[256], array[0]);
        typicals := array_fill(0::double precision, array[32], array[0]);
        natrs := array_fill(0::double precision, array[128], array[0]);
        block_end := '-infinity';
        day_end := '-infinity';
{% endmacro %}

{#-
    The order of `state_before` after its first part, the count of candles (400 stands for more); 100 values of natr
    follow. The last one here is on-balance volume of the block that ended.
-#}
{% macro walk_state() %}
    {% do return([
        'ema_12', 'ema_26', 'ema_50', 'ema_200', 'fast', 'macd_signal', 'gain', 'loss', 'atr_14', 'plus_movement',
        'minus_movement', 'range_sum', 'adx_14', 'day_volume', 'day_value', 'obv_in_block',
    ]) %}
{% endmacro %}

{#- The parts of it that a market without movement brings to 0; in one block they lose less than 100 digits. -#}
{% macro walk_shrinking() %}
    {% do return([
        'macd_signal', 'gain', 'loss', 'atr_14', 'plus_movement', 'minus_movement', 'range_sum', 'adx_14',
    ]) %}
{% endmacro %}

{#- At the first candle of a block: hold the state as it was before it, and sum the rolling sums afresh. -#}
{% macro walk_begin_block() %}
            block_start := {{ block_start('open_time', 'market_timeframe') }};
            block_end := block_start + {{ block_slots() }} * candle_length;
            -- Where nothing moves they shrink by the candle, and Postgres refuses a product too small for a double.
            {%- for name in walk_shrinking() %}
            {{ name }} := case when abs({{ name }}) < 1e-150 then 0 else {{ name }} end;
            {%- endfor %}
            state_before := array[least(t, 400), {{ walk_state() | join(', ') }}];
            natr_sum := 0;
            for back in reverse 100..1 loop
                natr_sum := natr_sum + natrs[(t - back) & 127];
                state_before := state_before || natrs[(t - back) & 127];
            end loop;
            sum_200 := 0;
            sum_50 := 0;
            for back in reverse 200..1 loop
                sum_200 := sum_200 + closes[(t - back) & 255];
                sum_50 := sum_50 + case when back <= 50 then closes[(t - back) & 255] else 0 end;
            end loop;
            obv_in_block := 0;
{% endmacro %}

{#- The variables that a row of `windowed_candles` fills, in its order. -#}
{% macro walk_targets(carried) %}
            {%- for name, _ in carried %}
            {{ name }},
            {%- endfor %}
            open_time, previous_open_time, oldest_open_time, high_price, low_price, close_price, base_volume, quote_value,
            typical_price, close_move, close_10_before, sma_20, bb_deviation, mean_typical_20, volume_20, quote_value_20,
            return_deviation_20, highest_14, lowest_14, net_flow_14, flow_14
{% endmacro %}
