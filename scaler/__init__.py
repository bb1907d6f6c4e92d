"""Queue-driven autoscaler for EC2 Auto Scaling groups and ECS services."""

__version__ = "0.1.0"
