{#-
    A table whose rows are written once. dbt's incremental materialization writes them to a temporary table and from there
    into the table; this one inserts them. A full refresh fills a new table, which then takes the old one's place: until
    then readers find the old rows, and the views on it follow it, others' too.
-#}
{% materialization written_once, adapter='postgres' %}

    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set new_relation = target_relation -%}
    {%- if existing_relation is not none and flags.FULL_REFRESH -%}
        {%- set new_relation = make_intermediate_relation(target_relation) -%}
    {%- endif -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if is_incremental() %}
        {% call statement('main') -%}
            insert into {{ target_relation }} ({{ get_quoted_csv(same_columns(target_relation, sql)) }})
            {{ sql }}
        {%- endcall %}
    {% else %}
        {% call statement('main') -%}
            {{ get_create_table_as_sql(False, new_relation, sql) }}
        {%- endcall %}
        {% do create_indexes(new_relation) %}
        {% if new_relation != target_relation %}
            {% do run_query(take_place_of(target_relation, new_relation)) %}
        {% endif %}
    {% endif %}

    {% do persist_docs(target_relation, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}

{#- Whether the model's rows are kept and added to; dbt's own macro of this name knows no other materialization than its. -#}
{% macro is_incremental() %}
    {%- if not execute -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set relation = load_relation(this) -%}
    {{ return(
        relation is not none
        and relation.type == 'table'
        and model.config.materialized in ('incremental', 'written_once')
        and not should_full_refresh()
    ) }}
{% endmacro %}

{#- The names of the query's columns; the build stops where they are not the table's. -#}
{% macro same_columns(relation, sql) %}
    {%- set wanted = get_column_schema_from_query(sql) | map(attribute='name') | list -%}
    {%- set held = adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
    {%- if wanted | sort != held | sort -%}
        {% do exceptions.raise_compiler_error(
            'the columns of ' ~ relation ~ ' changed; run marketlake step build --full-refresh. The model has '
            ~ wanted | join(', ') ~ '; the table has ' ~ held | join(', ')
        ) %}
    {%- endif -%}
    {{ return(wanted) }}
{% endmacro %}

{#-
    Let a new table take an old one's place, with the views on it. Readers lock a view before what it stands on, and so
    does this; they wait for it, but no longer than the transaction goes on. A view that reads a column that is no more
    goes with the old table, and so do the project's views on it, which the build makes anew; others' stop the build.
-#}
{% macro take_place_of(relation, new_relation) %}
do $place$
declare
    old_table constant regclass := '{{ relation }}';
    dependent record;
    others text;
begin
    create temporary table dependents on commit drop as
    with {{ views_above('old_table') }}

    select
        relation_id::regclass::text as name,
        max(height) as height,
        bool_or(height = 1) as is_direct,
        pg_get_viewdef(relation_id) as definition
    from above
    where height > 0
    group by relation_id;

    for dependent in select * from dependents where is_direct order by height desc loop
        execute format('lock table %s in access exclusive mode', dependent.name);
    end loop;
    alter table {{ relation }} rename to {{ relation.identifier }}__old;
    alter table {{ new_relation }} rename to {{ relation.identifier }};
    for dependent in select * from dependents where is_direct order by height loop
        continue when to_regclass(dependent.name) is null;
        begin
            execute format('create or replace view %s as %s', dependent.name, dependent.definition);
        exception when undefined_column or invalid_table_definition then
            {{ drop_views_of_the_project('dependent.name') }}
        end;
    end loop;
    drop table {{ relation.include(identifier=false) }}.{{ relation.identifier }}__old;
end;
$place$
{% endmacro %}
