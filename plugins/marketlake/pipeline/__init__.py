"""The steps of a run, in order: the same functions for the command line and for Airflow's tasks."""
