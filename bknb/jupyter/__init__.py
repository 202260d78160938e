"""The notebook layer: parse a magic, call the public functions, show what came back."""
