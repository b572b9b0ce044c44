"""`jitcore.hub`: where PyTorch downloads models. jitcore downloads nothing; weights load from safetensors and .npz."""

from __future__ import annotations

from typing import Any, NoReturn


def load_state_dict_from_url(url: str, *arguments: Any, **keywords: Any) -> NoReturn:
    """Not offered: raises NotImplementedError."""
    raise NotImplementedError(
        f"jitcore downloads nothing, and reads no pickles: save the weights of {url} as safetensors or .npz and use "
        "jitcore.load"
    )


def load(repo_or_dir: str, model: str, *arguments: Any, **keywords: Any) -> NoReturn:
    """Not offered: raises NotImplementedError."""
    raise NotImplementedError(f"jitcore downloads nothing: get the code of {repo_or_dir} and import it")


load_url = load_state_dict_from_url
list = help = download_url_to_file = load

__all__ = ["download_url_to_file", "help", "list", "load", "load_state_dict_from_url", "load_url"]
