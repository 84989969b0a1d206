"""Built-in recipes, by name: `curate run quickstart`."""
