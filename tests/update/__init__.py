"""Services made by earlier releases take in this one."""
