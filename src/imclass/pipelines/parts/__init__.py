"""Parts of pipelines, one file each, in its table `PARTS`."""
