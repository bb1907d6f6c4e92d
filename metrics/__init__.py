"""What is seen and told: queue readings, workers' reports, published metrics."""
