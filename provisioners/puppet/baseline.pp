include baseline
