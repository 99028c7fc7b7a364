{#-
    Fails for each row that breaks a rejecting rule of its dataset (TRF-09). The rules are declared once, in
    marketlake.rules; `marketlake step dbt_test` hands them over as the variable row_rules. Null means failed.
-#}
{% test follows_row_rules(model, dataset) %}

{%- set rules = var('row_rules', {}).get(dataset, []) %}
{{- require_row_rules(dataset, rules) }}

    select judged.*

    from {{ model }} as judged

    where (({{ (rules or ['true']) | join(') and (') }})) is not true

{% endtest %}
