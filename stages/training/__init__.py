"""How models are trained and recorded: recipe, lineage, slices, import."""
