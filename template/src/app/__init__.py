"""The service. Imports point one way: modules → infrastructure → core; api and cli sit on top."""
