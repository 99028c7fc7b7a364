{#-
    One pass over the candles of one market and timeframe, oldest first, that computes every indicator. Definitions and
    start values are those of the specification (TRF-07), which are TA-Lib's; `t` counts candles from the first one walked.
    A mean of the first n values and the smoothing after it are one formula: a running mean whose weight stops falling.

    Three functions share this body, all in create_indicator_walks.sql: `silver.indicator_segment` computes a segment with
    nothing stored, `silver.indicator_walk` goes on from stored state and stops where its own state equals the stored one,
    `silver.indicator_walk_of` takes the candles as arrays and starts at the first one.

    A market is cut into segments of its grid, which a full refresh computes side by side. A segment begins as if the
    market had begun `warm_up_candles` before it, and depends on nothing earlier.

    `state_before` is written at the first candle of each block of grid slots: the recursions as they were before that
    candle. Rolling sums start afresh there, so a walk from a block's start gives the very doubles of a walk from its
    segment's start; indicator_windows.sql has them.
-#}

{#- Where the functions live. -#}
{% macro walk_schema() %}silver{% endmacro %}

{#- Grid slots of a block. -#}
{% macro block_slots() %}1024{% endmacro %}

{#- Grid slots of a segment, a whole number of blocks. -#}
{% macro segment_slots() %}65536{% endmacro %}

{#- Candles before a segment that are walked first: the longest recursion, ema_200, then remembers its start to 1e-12. -#}
{% macro warm_up_candles() %}3072{% endmacro %}

{#- How far back a row looks: candles that a restart reads again, to fill sma_200 and the gap flag. -#}
{% macro look_back_candles() %}200{% endmacro %}

{#- The start of the block of grid slots that an instant lies in. -#}
{% macro block_start(instant, timeframe) -%}
    {{ slot_start(instant, block_slots() ~ ' * ' ~ timeframe_length(timeframe)) }}
{%- endmacro %}

{#- The start of the segment that an instant lies in, and a segment's length. -#}
{% macro segment_start(instant, timeframe) -%}
    {{ slot_start(instant, segment_length(timeframe)) }}
{%- endmacro %}

{% macro segment_length(timeframe) -%}
    ({{ segment_slots() }} * {{ timeframe_length(timeframe) }})
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

{#- The columns of a candle that a walk over a market hands on as they are: name and type. -#}
{% macro carried_columns() %}
    {% do return([
        ('exchange', 'text'), ('market_type', 'text'),
        ('open', 'numeric'), ('high', 'numeric'), ('low', 'numeric'), ('close', 'numeric'),
        ('volume', 'numeric'), ('quote_volume', 'numeric'), ('trade_count', 'bigint'),
        ('taker_buy_volume', 'numeric'), ('source', 'text'), ('candidate_count', 'bigint'),
    ]) %}
{% endmacro %}

{#- The candles of a source, called `candles`, in time order and double precision. -#}
{% macro candles_in_order(source, carried) %}
        select
            {%- for name, _ in carried %}
            candles.{{ name }},
            {%- endfor %}
            candles.open_time,
            candles.high::double precision,
            candles.low::double precision,
            candles.close::double precision,
            candles.volume::double precision,
            candles.quote_volume::double precision
        from {{ source }}
        order by candles.open_time
{% endmacro %}

{#- The source for a market's candles from `read_from` to before `read_until`. -#}
{% macro candles_between(candles) -%}
    {{ candles }} as candles
        where candles.symbol = market_symbol
            and candles.timeframe = market_timeframe
            and candles.open_time >= read_from
            and candles.open_time < read_until
{%- endmacro %}

{#- The variables that a row of `candles_in_order` fills, in its order. -#}
{% macro walk_targets(carried) %}
            {%- for name, _ in carried %}
            {{ name }},
            {%- endfor %}
            open_time, high_price, low_price, close_price, base_volume, quote_value
{% endmacro %}

{#- Weights of the running means at candle t, and whether it is settled; constant from candle 400 on. -#}
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
            is_settled := t >= 400;
{% endmacro %}

{#- The statements that compute one candle's indicators from the variables of `walk_variables`. -#}
{% macro walk_step() %}
            if t <= 400 then
                {{ walk_weights() }}
            end if;

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

            williams_r_14 := case
                when highest_14 > lowest_14 then -100 * (highest_14 - close_price) / (highest_14 - lowest_14) else 0
            end;
            stoch_d := (stoch_k_2 + stoch_k_1 + stoch_k) / 3;
            roc_10 := 100 * (close_price / recent_closes[(t - 10) & 255] - 1);
            mfi_14 := case when flow_14 > 0 then 50 * (flow_14 + net_flow_14) / flow_14 else 0 end;
            obv_in_block := obv_in_block + base_volume * case
                when change > 0 or t = 0 then 1
                when change < 0 then -1
                else sign(close - close_before)::double precision
            end;

            if open_time >= day_end then
                day_end := date_trunc('day', open_time, 'UTC') + interval '1 day';
                day_volume := 0;
                day_value := 0;
            end if;
            day_volume := day_volume + base_volume;
            day_value := day_value + quote_value;
            vwap_day := case when day_volume > 0 then day_value / day_volume end;
            vwap_20 := case when volume_20 > 0 then quote_value_20 / volume_20 end;

            natr := case when t < 14 then 0 else 100 * atr_14 / close_price end;
            natr_mean_100 := natr_sum / 100;
            natr_sum := natr_sum + natr - recent_natrs[(t - 100) & 127];
            recent_natrs[t & 127] := natr;

            has_gap_in_window := t - gap_at < {{ look_back_candles() }} - 1;
{% endmacro %}

{#- Hand out the row: until the longest window is full, without what is not defined yet. -#}
{% macro walk_return_row() %}
            if t < {{ look_back_candles() }} then
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

{#- Keep this candle's prices as those of the candle before. -#}
{% macro walk_keep_prices() %}
            previous_close := close_price;
            previous_high := high_price;
            previous_low := low_price;
            previous_typical := typical_price;
            close_before := close;
            typical_before := high + low + close;
{% endmacro %}

{#- Make this candle the previous one. -#}
{% macro walk_step_on() %}
            raw_k_2 := raw_k_1;
            raw_k_1 := raw_k;
            stoch_k_2 := stoch_k_1;
            stoch_k_1 := stoch_k;
            previous_open_time := open_time;
            {{ walk_keep_prices() }}
            t := t + 1;
{% endmacro %}

{% macro walk_variables() %}
    t integer;
    read_from timestamptz;
    candle_length interval := {{ timeframe_length('market_timeframe') }};
    block_end timestamptz;
    day_end timestamptz;
    next_open_time timestamptz;
    -- The candle with the last gap before it.
    gap_at integer;
    {%- for name in [
        'high_price', 'low_price', 'close_price', 'base_volume', 'quote_value', 'typical_price', 'change', 'flow', 'up',
        'down',
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
    close_before numeric;
    typical_before numeric;
    {%- for name in [
        'previous_high', 'previous_low', 'previous_typical', 'fast', 'gain', 'loss', 'plus_movement', 'minus_movement',
        'range_sum', 'raw_k', 'raw_k_1', 'raw_k_2', 'stoch_k_1', 'stoch_k_2', 'day_volume', 'day_value', 'natr', 'natr_sum',
    ] %}
    {{ name }} double precision;
    {%- endfor %}
    defined double precision[];
    recent_natrs double precision[];
    {{ walk_window_variables() }}
{% endmacro %}

{% macro walk_start() %}
        t := 0;
        {%- for name in [
            'ema_12', 'ema_26', 'ema_50', 'ema_200', 'fast', 'macd_signal', 'gain', 'loss', 'atr_14', 'plus_movement',
            'minus_movement', 'range_sum', 'adx_14', 'day_volume', 'day_value', 'natr_sum', 'obv_in_block', 'raw_k_1',
            'raw_k_2', 'stoch_k_1', 'stoch_k_2',
        ] %}
        {{ name }} := 0;
        {%- endfor %}
        recent_natrs := array_fill(0::double precision, array[128], array[0]);
        block_end := '-infinity';
        day_end := '-infinity';
        previous_open_time := null;
        gap_at := -{{ look_back_candles() }};
        {{ walk_start_windows() }}
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
                natr_sum := natr_sum + recent_natrs[(t - back) & 127];
                state_before := state_before || recent_natrs[(t - back) & 127];
            end loop;
            {{ walk_begin_windows() }}
            obv_in_block := 0;
{% endmacro %}
