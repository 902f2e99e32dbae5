"""One file per dialect: how it is parsed, rendered, read and refused; and the translators."""
