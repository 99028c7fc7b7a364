{#- The square root of a timeframe's candles in 365 days: it scales a candle's deviation to a year's. -#}
{% macro year_root(timeframe) -%}
    sqrt(
        case {{ timeframe }}
            when '1m' then 525600
            when '5m' then 105120
            when '15m' then 35040
            when '1h' then 8760
            when '4h' then 2190
            when '1d' then 365
        end::double precision
    )
{%- endmacro %}
