"""From a bundle to a registered, promoted model version."""
