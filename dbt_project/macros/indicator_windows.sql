{#-
    The rolling windows of the walk: a sum takes the candle that enters and gives back the one that leaves. The values of
    a window stand in a ring, that of candle t at t modulo the ring's length.

    Subtraction loses digits where a sum shrinks. So a sum that falls below a thousandth of its peak is summed afresh over
    its window, which gives 0 where nothing moves; and all are summed afresh at a block's start. Where a deviation is
    taken, prices are summed as distances from an anchor. `squares` is a sum of squared distances from the mean of 20
    values; when x comes for y, it grows by (x - y)(x + y - both means).
-#}

{#- What a candle says by itself and beside the one before. -#}
{% macro walk_look() %}
            typical_price := (high_price + low_price + close_price) / 3;
            if quote_value is null then
                quote_value := typical_price * base_volume;
            end if;
            if previous_open_time is null then
                {{ walk_keep_prices() }}
                next_open_time := open_time;
                recent_closes := array_fill(close_price, array[256], array[0]);
            end if;
            has_gap_before := open_time > next_open_time;
            if has_gap_before then
                gap_at := t;
            end if;
            next_open_time := open_time + candle_length;
            change := close_price - previous_close;
{% endmacro %}

{#- Take the candle into the windows. -#}
{% macro walk_windows() %}
            entering := close_price - anchor;
            leaving := recent_closes[(t - 20) & 255] - anchor;
            squares := squares + (entering - leaving) * (entering + leaving - (2 * sum_20 + entering - leaving) / 20);
            sum_20 := sum_20 + entering - leaving;
            sum_50 := sum_50 + close_price - recent_closes[(t - 50) & 255];
            sum_200 := sum_200 + close_price - recent_closes[(t - 200) & 255];
            recent_closes[t & 255] := close_price;
            {% call keep_digits('squares') %}
                {{ sum_closes(0) }}
                {{ sum_squares('squares', 'recent_closes', 255, 0) }}
            {% endcall %}
            {% call keep_digits('sum_50') %}{{ sum_window('sum_50', 'recent_closes', 255, 50, 0) }}{% endcall %}
            {% call keep_digits('sum_200') %}{{ sum_window('sum_200', 'recent_closes', 255, 200, 0) }}{% endcall %}
            sma_20 := anchor + sum_20 / 20;
            sma_50 := sum_50 / 50;
            sma_200 := sum_200 / 200;
            bb_deviation := sqrt(squares / 20);

            entering := ln(close_price / previous_close);
            leaving := recent_returns[(t - 20) & 31];
            return_squares := return_squares
                + (entering - leaving) * (entering + leaving - (2 * return_sum + entering - leaving) / 20);
            return_sum := return_sum + entering - leaving;
            recent_returns[t & 31] := entering;
            {% call keep_digits('return_squares') %}
                {{ sum_squares('return_squares', 'recent_returns', 31, 0) }}
                {{ sum_window('return_sum', 'recent_returns', 31, 20, 0) }}
            {% endcall %}
            return_deviation_20 := sqrt(return_squares / 19);

            typical_sum := typical_sum + typical_price - recent_typicals[place];
            recent_typicals[place] := typical_price;
            place := case when place < 20 then place + 1 else 1 end;
            mean_typical_20 := typical_anchor + typical_sum / 20;
            deviation := {{ typical_deviation() }};
            {% call keep_digits('deviation') %}
                {{ sum_typicals('typical_price') }}
                mean_typical_20 := typical_anchor + typical_sum / 20;
                deviation := {{ typical_deviation() }};
            {% endcall %}
            cci_20 := case when deviation > 0 then (typical_price - mean_typical_20) / (0.015 * deviation) else 0 end;

            volume_20 := volume_20 + base_volume - recent_volumes[(t - 20) & 31];
            recent_volumes[t & 31] := base_volume;
            {% call keep_digits('volume_20') %}{{ sum_window('volume_20', 'recent_volumes', 31, 20, 0) }}{% endcall %}
            quote_value_20 := quote_value_20 + quote_value - recent_values[(t - 20) & 31];
            recent_values[t & 31] := quote_value;
            {% call keep_digits('quote_value_20') %}
                {{ sum_window('quote_value_20', 'recent_values', 31, 20, 0) }}
            {% endcall %}

            -- Ties of typical prices are decided on exact decimals: sums of doubles round differently.
            flow := typical_price - previous_typical;
            flow := typical_price * base_volume * case
                when flow > 1e-12 * typical_price then 1
                when flow < -1e-12 * typical_price then -1
                else sign(high + low + close - typical_before)::double precision
            end;
            leaving := recent_flows[(t - 14) & 15];
            flow_14 := flow_14 + abs(flow) - abs(leaving);
            net_flow_14 := net_flow_14 + flow - leaving;
            recent_flows[t & 15] := flow;
            {% call keep_digits('flow_14') %}
                {{ sum_window('flow_14', 'recent_flows', 15, 14, 0, 'abs') }}
                {{ sum_window('net_flow_14', 'recent_flows', 15, 14, 0) }}
            {% endcall %}

            leaving := recent_highs[(t - 14) & 15];
            recent_highs[t & 15] := high_price;
            if high_price >= highest_14 then
                highest_14 := high_price;
            elsif leaving = highest_14 then
                highest_14 := greatest({{ ring_values('recent_highs', 15, 14) }});
            end if;
            leaving := recent_lows[(t - 14) & 15];
            recent_lows[t & 15] := low_price;
            if low_price <= lowest_14 then
                lowest_14 := low_price;
            elsif leaving = lowest_14 then
                lowest_14 := least({{ ring_values('recent_lows', 15, 14) }});
            end if;
            raw_k := case
                when highest_14 > lowest_14 then 100 * (close_price - lowest_14) / (highest_14 - lowest_14) else 0
            end;
            stoch_k := (raw_k_2 + raw_k_1 + raw_k) / 3;
{% endmacro %}

{#- At the first candle of a block, before it enters: sum the windows of the candles before it. -#}
{% macro walk_begin_windows() %}
            {{ sum_closes(1) }}
            {{ sum_window('sum_50', 'recent_closes', 255, 50, 1) }}
            {{ sum_window('sum_200', 'recent_closes', 255, 200, 1) }}
            {{ sum_squares('squares', 'recent_closes', 255, 1) }}
            {{ sum_squares('return_squares', 'recent_returns', 31, 1) }}
            {{ sum_window('return_sum', 'recent_returns', 31, 20, 1) }}
            {{ sum_window('volume_20', 'recent_volumes', 31, 20, 1) }}
            {{ sum_window('quote_value_20', 'recent_values', 31, 20, 1) }}
            {{ sum_window('flow_14', 'recent_flows', 15, 14, 1, 'abs') }}
            {{ sum_window('net_flow_14', 'recent_flows', 15, 14, 1) }}
            -- The order in which deviations are added up must not depend on where the walk began.
            recent_typicals := recent_typicals[place:20] || recent_typicals[1:place - 1];
            place := 1;
            {{ sum_typicals('close_price') }}
            {%- for sum in peaked_sums() %}
            {{ sum }}_peak := {{ sum if sum != 'deviation' else 0 }};
            {%- endfor %}
{% endmacro %}

{% macro walk_window_variables() %}
    -- Rings: the value of candle t stands at t modulo the ring's length; the oldest typical price at `place`.
    {%- for ring in ['recent_closes', 'recent_returns', 'recent_volumes', 'recent_values', 'recent_flows', 'recent_highs', 'recent_lows', 'recent_typicals'] %}
    {{ ring }} double precision[];
    {%- endfor %}
    place integer;
    {%- for name in [
        'entering', 'leaving', 'anchor', 'sum_20', 'sum_50', 'sum_200', 'squares', 'return_sum', 'return_squares',
        'typical_anchor', 'typical_sum', 'mean_typical_20', 'deviation', 'volume_20', 'quote_value_20', 'flow_14',
        'net_flow_14', 'highest_14', 'lowest_14',
    ] %}
    {{ name }} double precision;
    {%- endfor %}
    {%- for sum in peaked_sums() %}
    {{ sum }}_peak double precision;
    {%- endfor %}
{% endmacro %}

{#- Empty windows: 0 stands for what was before the market's first candle. -#}
{% macro walk_start_windows() %}
        {%- for ring, length in [
            ('recent_returns', 32), ('recent_volumes', 32), ('recent_values', 32), ('recent_flows', 16), ('recent_highs', 16),
            ('recent_lows', 16),
        ] %}
        {{ ring }} := array_fill(0::double precision, array[{{ length }}], array[0]);
        {%- endfor %}
        recent_typicals := array_fill(0::double precision, array[20]);
        place := 1;
        highest_14 := 0;
        lowest_14 := 'infinity';
{% endmacro %}

{#- The sums whose peak since they were last summed afresh is kept. -#}
{% macro peaked_sums() %}
    {% do return([
        'squares', 'sum_50', 'sum_200', 'return_squares', 'deviation', 'volume_20', 'quote_value_20', 'flow_14',
    ]) %}
{% endmacro %}

{#- Sum afresh, as the caller does, what has fallen below a thousandth of its peak. -#}
{% macro keep_digits(sum) %}
            if {{ sum }} > {{ sum }}_peak or {{ sum }} * 1000 < {{ sum }}_peak then
                if {{ sum }} < {{ sum }}_peak then
                    {{ caller() }}
                end if;
                {{ sum }}_peak := {{ sum }};
            end if;
{% endmacro %}

{#- The sum of a window whose newest value is `newest` candles back. -#}
{% macro sum_window(sum, ring, mask, length, newest, of='') %}
                {{ sum }} := 0;
                for back in reverse {{ newest + length - 1 }}..{{ newest }} loop
                    {{ sum }} := {{ sum }} + {{ of }}({{ ring }}[(t - back) & {{ mask }}]);
                end loop;
{% endmacro %}

{#- The sum of the distances of 20 closes from an anchor, the close of this candle. -#}
{% macro sum_closes(newest) %}
                anchor := close_price;
                sum_20 := 0;
                for back in reverse {{ newest + 19 }}..{{ newest }} loop
                    sum_20 := sum_20 + (recent_closes[(t - back) & 255] - anchor);
                end loop;
{% endmacro %}

{#- The sum of the squared distances from the mean of 20 values; distances from the newest are exact where all are equal. -#}
{% macro sum_squares(sum, ring, mask, newest) %}
                {{ sum }} := 0;
                leaving := 0;
                for back in reverse {{ newest + 19 }}..{{ newest }} loop
                    entering := {{ ring }}[(t - back) & {{ mask }}] - {{ ring }}[(t - {{ newest }}) & {{ mask }}];
                    {{ sum }} := {{ sum }} + entering * entering;
                    leaving := leaving + entering;
                end loop;
                {{ sum }} := greatest({{ sum }} - leaving * leaving / 20, 0);
{% endmacro %}

{% macro sum_typicals(typical_anchor) %}
                typical_anchor := {{ typical_anchor }};
                typical_sum := 0;
                for back in 1..20 loop
                    typical_sum := typical_sum + (recent_typicals[back] - typical_anchor);
                end loop;
{% endmacro %}

{#- The mean distance of the last 20 typical prices from their mean. -#}
{% macro typical_deviation() -%}
            (
                {%- for at in range(1, 21) %}
                {{ '+ ' if not loop.first }}abs(recent_typicals[{{ at }}] - mean_typical_20)
                {%- endfor %}
            ) / 20
{%- endmacro %}

{#- The last values of a ring, the newest first. -#}
{% macro ring_values(ring, mask, length) -%}
    {%- for back in range(length) -%}
        {{ ring }}[(t - {{ back }}) & {{ mask }}]{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
