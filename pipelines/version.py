"""The versions of congener and of the packages whose code affects a run's bytes."""

from importlib import metadata

VERSION = "0.1.0"

PACKAGES = (
    "apache-beam",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "google-re2",
    "numpy",
    "orjson",
    "pyarrow",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)


def find_package_versions() -> dict[str, str]:
    """Return the version of each package in `PACKAGES` that is installed, keyed by name."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
