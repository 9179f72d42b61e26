"""One module per engine library, imported when a bundle asks for it."""
