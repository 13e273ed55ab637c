"""Parts of pipelines. Each file defines one part, in its `PARTS` table."""
