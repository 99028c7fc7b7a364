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

{#- Post-hook: the model now holds every publication up to the pinned one. -#}
{% macro remember_progress() %}
    insert into {{ source('ops', 'model_progress') }} as progress (model, publication_id, updated_at)
    values ('{{ this.identifier }}', {{ pinned_publication_id() }}, clock_timestamp())
    on conflict (model) do update set
        publication_id = greatest(progress.publication_id, excluded.publication_id),
        updated_at = excluded.updated_at
{% endmacro %}
