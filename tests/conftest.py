"""Being here, this file makes pytest put tests/ on the import path, so that tests can import `shared`."""


def pytest_collection_modifyitems(items):
    """Export targets last: TFLite's converter starts JAX's threads, and the loader's tests fork processes."""
    items.sort(key=lambda item: "/tests/deploy/" in item.path.as_posix())
