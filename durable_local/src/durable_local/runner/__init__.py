"""Durable executions: AWS's own runner from the testing SDK, brought in line with AWS Lambda."""
