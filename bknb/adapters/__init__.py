"""Old paths, which the manual of 0.1.0 told to import; each warns, and works for one release."""
