"""Files in S3, or in what speaks like it: MinIO, Cloudflare R2, Ceph."""
