"""What several commands share: options, folders, printing."""
