"""Published numbers: the rows of results/published.csv, and which of them stand beside a number of ours."""
