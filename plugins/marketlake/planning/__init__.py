"""What to fetch: wanted minus settled, cheapest source first.

`window` says which range a run works on and imports nothing heavy, so Airflow may use it; `plan` makes the plan. Import
the modules themselves: this package imports none of them.
"""
