"""A classifier of a user's own classes: fitted on photos, calibrated on held-out ones, kept in a folder, used on new photos."""
