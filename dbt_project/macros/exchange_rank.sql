{#-
    The place of an exchange in the list that holds for a symbol's quote asset, 1 for the best (ING-19). Assets that are
    not known as money of a state are taken for stablecoins; exchanges that are not listed come last, by name.
-#}
{% macro exchange_rank(exchange, symbol) -%}
    {%- set priority = var('exchange_priority') -%}
    {%- set fiat = ['USD', 'EUR', 'GBP', 'JPY', 'CHF', 'AUD', 'CAD', 'TRY', 'BRL', 'KRW'] -%}
    coalesce(
        array_position(
            case
                when split_part(split_part({{ symbol }}, '/', 2), ':', 1) in ('{{ fiat | join("', '") }}')
                    then array['{{ priority['fiat'] | join("', '") }}']
                else array['{{ priority['stablecoin'] | join("', '") }}']
            end,
            {{ exchange }}
        ),
        1000
    )
{%- endmacro %}
