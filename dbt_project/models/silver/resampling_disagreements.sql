{{ config(materialized='view') }}

{#- A value that one side does not state is no disagreement. -#}
{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

{%- set values = ['open', 'high', 'low', 'close', 'volume', 'quote_volume', 'trade_count']
    + ['taker_buy_volume', 'taker_buy_quote_volume'] %}

select
    resampled.exchange,
    resampled.symbol,
    resampled.timeframe,
    resampled.open_time,
    concat_ws(
        ', ',
        {% for value in values -%}
            case when resampled.{{ value }} <> native.{{ value }} then '{{ value }}' end{{ ',' if not loop.last }}
        {% endfor %}
    ) as disagreeing_columns,
    {% for value in values -%}
        resampled.{{ value }} as resampled_{{ value }},
        native.{{ value }} as native_{{ value }},
    {% endfor -%}
    resampled.base_candles,
    resampled.expected_base_candles,
    resampled.is_complete,
    native.source as native_source

from {{ ref('market_data_resampled') }} as resampled
inner join {{ ref('market_data') }} as native
    on
        resampled.exchange = native.exchange
        and resampled.symbol = native.symbol
        and resampled.timeframe = native.timeframe
        and resampled.open_time = native.open_time

where
    {% for value in values -%}
        {{ 'or ' if not loop.first }}resampled.{{ value }} <> native.{{ value }}
    {% endfor -%}
