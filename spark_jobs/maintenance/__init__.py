"""Care of tables that exist."""
