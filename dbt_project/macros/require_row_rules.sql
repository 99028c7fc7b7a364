{#- Without rules, a test of them would pass whatever the rows are. The docs site runs no test and needs none. -#}
{% macro require_row_rules(dataset, rules) %}
    {%- if execute and flags.WHICH != 'generate' and not rules -%}
        {%- do exceptions.raise_compiler_error(
            'no row rules of ' ~ dataset ~ ' were handed over, so nothing would be tested; expected the variable'
            ~ ' row_rules with a list for it: run marketlake step dbt_test, or pass --vars'
        ) -%}
    {%- endif -%}
{% endmacro %}
