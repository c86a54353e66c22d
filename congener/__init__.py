"""congener finds, measures and removes what a student model would inherit from its teacher's data.

This module is for use in notebooks and in your own pipelines. It is the only API that congener
promises to keep stable; the packages beside it (`schemas`, `classifiers`, `transforms`,
`pipelines`) may change in any version.

    import congener

    congener.score_texts(["As an AI language model, I can't ..."], traits=["ai-disclaimer"])
    run = congener.filter_corpus("data/", "run/", traits=["vendor-identity"])
    run.ledger().filter(decision="quarantine").collect()
    congener.open_run("run/").manifest.conservation
"""

TYPE_CHECKING = False  # `python -m congener` must not import `typing` yet: see `import_path`
if TYPE_CHECKING:
    from typing import Any

    from congener.api import (
        CongenerError,
        Manifest,
        Policy,
        Run,
        __version__,
        filter_corpus,
        open_run,
        score_texts,
    )

__all__ = [
    "CongenerError",
    "Manifest",
    "Policy",
    "Run",
    "__version__",
    "filter_corpus",
    "open_run",
    "score_texts",
]


def __getattr__(name: str) -> "Any":
    """Import the API on first use: torch and Beam take seconds to load."""
    if name not in __all__:
        raise AttributeError(f"module 'congener' has no attribute {name!r}")
    from importlib import import_module

    from congener.origins import require_own_packages
    from congener.quiet_imports import import_quietly

    require_own_packages()
    with import_quietly():
        return getattr(import_module("congener.api"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
