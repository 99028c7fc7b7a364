"""Recovery: the ledger told again from the landing area, tables restored, ranges opened again."""
