"""Models in SBML, the Systems Biology Markup Language, level 2 and 3."""
