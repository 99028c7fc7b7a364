{#-
    Views are replaced where they stand. dbt's own materialization builds a second view, renames both, and drops the old
    one with everything that depends on it: readers of a moment find nothing, and views that users made are gone.
-#}
{% materialization view, adapter='postgres' %}

    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='view') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if existing_relation is not none and not existing_relation.is_view %}
        {% do adapter.drop_relation(existing_relation) %}
    {% endif %}

    {% call statement('main') -%}
        {{ replace_view(target_relation, sql) }}
    {%- endcall %}

    {% do persist_docs(target_relation, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}

{#-
    Replace a view, with its grants. Where columns went, moved or changed their types, Postgres cannot: then the view is
    made anew in the same transaction, and so are, later in the build, the project's views on it. Views of others on it
    would be lost, so they stop the build.
-#}
{% macro replace_view(relation, sql) %}
do $replace$
declare
    others text;
begin
    create or replace view {{ relation }} as (
        {{ sql }}
    );
exception when invalid_table_definition then
    {{ drop_views_of_the_project("'" ~ relation ~ "'") }}
    create view {{ relation }} as (
        {{ sql }}
    );
end;
$replace$
{% endmacro %}

{#-
    A recursive CTE `above`: the relation, of which `relation` is the name in SQL, and all views that stand on it, with how
    many views there are between. A view that is reached in two ways is there at each height.
-#}
{% macro views_above(relation) -%}
    recursive above as (
        select
            {{ relation }}::regclass::oid as relation_id,
            0 as height
        union
        select
            rules.ev_class,
            above.height + 1
        from above
        inner join pg_depend on pg_depend.refobjid = above.relation_id and pg_depend.classid = 'pg_rewrite'::regclass
        inner join pg_rewrite as rules on rules.oid = pg_depend.objid and rules.ev_class <> above.relation_id
    )
{%- endmacro %}

{#- Drop a view with the project's views on it; others' views on it stop the build. `view` is its name in PL/pgSQL. -#}
{% macro drop_views_of_the_project(view) %}
    with {{ views_above(view) }}

    select string_agg(distinct named.name, ', ' order by named.name) into others
    from above
    inner join pg_class on pg_class.oid = above.relation_id
    cross join lateral (select pg_class.relnamespace::regnamespace::text || '.' || pg_class.relname as name) as named
    where named.name not in ({{ model_names() }});
    if others is not null then
        raise exception 'the columns of % changed, which would drop what others made on it: %; keep their'
            ' definitions, drop them, build, and create them again', {{ view }}::regclass, others;
    end if;
    execute format('drop view %s cascade', {{ view }});
{% endmacro %}

{% macro model_names() -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
        '{{ node.schema }}.{{ node.name }}'{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
