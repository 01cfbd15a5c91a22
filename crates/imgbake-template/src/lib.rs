//! Template text to spanned, checked values: the parser, variables, strings, and every error at once.
