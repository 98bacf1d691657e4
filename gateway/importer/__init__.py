"""Imports files of sales (CSV, TSV, NDJSON, Parquet) into a running gateway, each row once.

A table is read row by row (`tables`), its columns are recognised or set (`columns`, `settings`), each row becomes a
`track` call (`convert`), and the calls are sent in batches (`client`, `run`). Progress is kept beside the file
(`progress`), and rows that cannot be sent are written to a file of their own (`rejected`).
"""
