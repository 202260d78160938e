"""Old paths: what 0.1.0 had in ``bknb.adapters`` and its manual told to import; each warns and works for one release."""
