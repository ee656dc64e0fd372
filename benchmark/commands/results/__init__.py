"""Commands on records: tables, figures, comparisons, published numbers."""
