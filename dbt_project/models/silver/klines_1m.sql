{{ config(materialized='view') }}

with

candles as (

    select * from {{ ref('market_data_enriched') }}
    where timeframe = '1m'

)

select * from candles
