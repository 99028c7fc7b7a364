{#- For data tests: the rows that one of two sets has and the other has not. -#}
{% macro difference(left, right) -%}
    (
        select * from {{ left }}
        except
        select * from {{ right }}
    )
    union all
    (
        select * from {{ right }}
        except
        select * from {{ left }}
    )
{%- endmacro %}
