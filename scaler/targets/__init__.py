"""The only code that changes capacity: Auto Scaling groups, ECS services, and the dry run."""
