"""Methods that know the classes' names, through CLIP's text encoder."""
