"""Files of the Hugging Face hub: from its cache, or downloaded; a hub that cannot be reached is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....core.errors import UserError

SECONDS = 5.0  # for the one question whether the hub is there


CURE = "pass a file with --weights FILE"


def fetch(repository: str, revision: str | None, filenames: Sequence[str], owner: str, cure: str | None = None) -> Path:
    """The first of several files that a repository has, from the cache where it is there.

    Args:
        repository: such as "timm/resnet18.a1_in1k".
        revision: a commit, tag or branch; None takes the newest, or the newest in the cache.
        filenames: in the order of preference.
        owner: who asks, for the message ("backbone timm:resnet18").
        cure: how to do without, for the message; None: what to download elsewhere.

    Raises:
        UserError: the hub cannot be reached, or has no such file; the line says how to do without.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.utils import EntryNotFoundError

    address = f"{constants.ENDPOINT}/{repository}/resolve/{revision or 'main'}/{filenames[0]}"
    by_hand = cure or f"download {address} where there is a network, and pass it with --weights FILE"
    for filename in filenames:
        cached = try_to_load_from_cache(repository, filename, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    _check_reachable(repository, owner, by_hand)
    for filename in filenames:
        try:
            return Path(hf_hub_download(repository, filename, revision=revision))
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the hub's client, its network library or the disk has to say
            raise UserError(_message(repository, owner, "did not come from the hub", error, by_hand)) from error
    raise UserError(f"{owner}: the hub's {repository} has none of {', '.join(filenames)}; {cure or CURE}")


def _check_reachable(repository: str, owner: str, cure: str) -> None:
    """Ask once: the hub's own client asks again and again, for three quarters of a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # the client's network library differs between its versions, and so do its errors
        what = "are not in the cache, and the hub cannot be reached"
        raise UserError(_message(repository, owner, what, error, cure)) from error


def _message(repository: str, owner: str, what: str, error: Exception, cure: str) -> str:
    reason = (str(error).splitlines() or [""])[0].partition(". ")[0]
    return f"{owner}: the weights {repository} {what} ({type(error).__name__}: {reason}); {cure}"
