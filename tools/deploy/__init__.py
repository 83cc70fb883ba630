"""What is needed to run diskkv as a service: systemd unit, container image, log rotation, health check, dashboard."""
