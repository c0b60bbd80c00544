"""Files in Azure Blob Storage."""
