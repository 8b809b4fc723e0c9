"""What servers say of the models that they serve, by which a run is known again wherever they stand.

The address of a server is no part of a run: it may be another one tomorrow, and shards of one run may each have their own. What
stands in its place is the name under which the model is asked, and who serves it from where, as the server's list of models
has it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from videothinker.diagnose import solvers
from videothinker.diagnose.server import PATIENT, Bounds, Server
from videothinker.errors import VtError
from videothinker.records import Served


def said_of(endpoints: Sequence[str], refs: Iterable[str], bounds: Bounds = PATIENT) -> dict[str, Served]:
    """By REF, what the servers that answer say of it; without those of which none says anything.

    Raises:
        VtError: an address cannot be asked, or two servers say different things of one model.
    """
    servers = [Server(url, bounds) for url in endpoints]
    for server in servers:
        with suppress(VtError):  # who asks it says so
            server.reach()
    said = {ref: _alike(servers, ref) for ref in refs if not ref.startswith(solvers.PREFIX)}
    return {ref: each for ref, each in said.items() if each is not None}


def _alike(servers: Sequence[Server], ref: str) -> Served | None:
    said = [(server.url, each) for server in servers if (each := server.served(ref)) is not None]
    for url, each in said[1:]:
        first_url, first = said[0]
        if each != first:
            raise VtError(
                f"--endpoint {url}: serves {ref} from {each.root} by {each.by}, and {first_url} from {first.root} by "
                f"{first.by}; servers of one run have to serve the same"
            )
    return said[0][1] if said else None
