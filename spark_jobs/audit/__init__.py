"""The judgement of typed rows before anything is committed."""
