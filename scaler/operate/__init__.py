"""What an operator asks of a daemon: its status, its reasons, its conflicts."""
