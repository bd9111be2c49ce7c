"""`params.yaml`, `schema.yaml` and `shards.yaml`: what each may hold."""
