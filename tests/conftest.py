"""Being here, this file makes pytest put tests/ on the import path, so that tests can import `shared`."""
