with

days as (

    select * from {{ source('bronze', 'market_day_quality') }}

),

renamed as (

    select
        exchange,
        symbol,
        timeframe,
        day as quality_date,
        expected as expected_rows,
        present as present_rows,
        rejected as rejected_rows

    from days

)

select * from renamed
