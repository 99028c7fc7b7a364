"""Delta to Postgres: the current rows of changed ranges, and the dbt build over them."""
