"""Published results as data, each with its source: one file a paper, in the form that `table` gives."""
