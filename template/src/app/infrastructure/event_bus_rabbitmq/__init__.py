"""Events over RabbitMQ: a topic exchange, a quorum queue for each group, a stream for everybody."""
