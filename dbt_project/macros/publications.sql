{#-
    What an incremental model still has to take: publications after its own last one, up to the one that the build
    pinned. The last one is stored with the model's rows, in the same transaction, so a build that dies costs a repeat.
-#}

{% macro pinned_publication_id() %}{{ var('pinned_publication_id') | int }}{% endmacro %}

{% macro last_publication_id() -%}
    coalesce((select publication_id from {{ source('ops', 'model_progress') }} where model = '{{ this.identifier }}'), 0)
{%- endmacro %}

{% macro is_new_publication(publication_id='publication_id') -%}
    {{ publication_id }} > {{ last_publication_id() }} and {{ publication_id }} <= {{ pinned_publication_id() }}
{%- endmacro %}

{#-
    For data tests: whether the row's market was published again after the pin. Its newest rows come with the next build,
    so what this one holds of it need not be equal. `columns` name the market in the row, as in the publications.
-#}
{% macro is_published_later(row, columns, dataset=none) -%}
    exists (
        select 1
        from {{ ref('stg_ops__publications') }} as later
        where later.publication_id > {{ pinned_publication_id() }}
            {%- if dataset %} and later.dataset = '{{ dataset }}'{% endif %}
            {%- for column in columns %} and later.{{ column }} = {{ row }}.{{ column }}{% endfor %}
    )
{%- endmacro %}

{#- Whether the model takes what is new, and does not compute everything anew. -#}
{% macro takes_changes() %}{{ return(is_incremental() and not flags.FULL_REFRESH) }}{% endmacro %}

{#-
    Pre-hook, the first of its transaction: whatever is published while the model works, its statements see what was
    there when it began, so that what it deletes and what it inserts are of the same days.
-#}
{% macro read_one_snapshot() %}set transaction isolation level repeatable read{% endmacro %}

{#- Pre-hook: a full refresh that stays in its table takes all rows away first. -#}
{% macro forget_rows() %}
    {% if is_incremental() and not takes_changes() %}delete from {{ this }}{% endif %}
{% endmacro %}

{#-
    Pre-hook: take away the rows that the model computes again, those whose `key` is in the query `changed`. Where that
    has ranges, `[starts_at, ends_at)`, the row's `time` lies in one of its key.
-#}
{% macro delete_changed(changed, key, time=none) %}
    {% if takes_changes() %}
    delete from {{ this }} as held
    using ({{ changed }}) as changed
    where {% for column in key -%}
        {{ 'and ' if not loop.first }}held.{{ column }} = changed.{{ column }}
        {% endfor %}
        {%- if time -%}
        and held.{{ time }} >= changed.starts_at
        and held.{{ time }} < changed.ends_at
        {%- endif %}
    {% endif %}
{% endmacro %}

{#- Post-hook: the model now holds every publication up to the pinned one. -#}
{% macro remember_progress() %}
    insert into {{ source('ops', 'model_progress') }} as progress (model, publication_id, updated_at)
    values ('{{ this.identifier }}', {{ pinned_publication_id() }}, clock_timestamp())
    on conflict (model) do update set
        publication_id = greatest(progress.publication_id, excluded.publication_id),
        updated_at = excluded.updated_at
{% endmacro %}
