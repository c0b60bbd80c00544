"""The engine on RabbitMQ: quorum queues that carry the jobs, Redis that knows them.

A broker of this kind can't tell whether it has a job, give one out of the middle, or count how
often it was started. So each job has a record in Redis beside the message that carries it
(docs/queue.md draws it): the message makes sure it is done, the record that it is done once.
"""
