"""Published numbers and what our runs make of them: listed recipes, their comparison, and the page of all."""
