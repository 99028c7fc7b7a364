{#- A model's schema is the one that its folder names, in every target; the profile's own is only the default. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name if custom_schema_name is not none else target.schema }}
{%- endmacro %}
