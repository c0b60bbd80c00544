"""Files in Google Cloud Storage; a bucket of Firebase Storage is one of these."""
