"""Which calls become one engine, by what engines cost and which routes are expected."""
