"""The static site that `bench site` writes: boards, methods, reproductions and every record, as pages without a server."""
