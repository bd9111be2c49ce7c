"""`params.yaml`: what each section may hold."""
