"""Images in: the one decode function, data sets, augmentation and loaders."""
