"""What every module needs and nothing else. Imports no other part of the service."""
