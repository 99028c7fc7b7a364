{#- Candle lengths and their grid in SQL: any number of minutes, hours or days, as in marketlake.timeframes. -#}

{#- A day has 24 hours, whatever zone the session has. -#}
{% macro timeframe_length(timeframe) -%}
    make_interval(secs => extract(epoch from {{ timeframe }}::interval))
{%- endmacro %}

{#- The last multiple of the length since 1970 at or before the instant. -#}
{% macro slot_start(instant, length) -%}
    date_bin({{ length }}, {{ instant }}, timestamptz '1970-01-01 00:00Z')
{%- endmacro %}
