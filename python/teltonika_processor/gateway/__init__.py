"""tcp-ingestion: device connections in, stream entries out, a reply only for what is durable."""
