with

publications as (

    select * from {{ source('ops', 'publications') }}

),

renamed as (

    select
        publication_id,
        dataset,
        exchange,
        symbol,
        timeframe,
        range_start,
        range_end,
        rows_written,
        rows_deleted,
        published_at

    from publications

)

select * from renamed
