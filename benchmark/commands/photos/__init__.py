"""Commands for a user's own photos: recommend, fit, predict."""
