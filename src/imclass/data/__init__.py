"""Image decoding, data sets, augmentation and loaders."""
