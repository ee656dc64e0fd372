"""The shape of episodes, which a testbed or a sampler may decide: then no option says it, too."""

from __future__ import annotations

from ....core.errors import UsageError
from ....core.options import Settings, parameters_of
from ...config import SHAPE, RunConfig


def check_shape(options: Settings) -> None:
    """Check that what episodes look like is not said twice.

    Raises:
        UsageError: a testbed or a sampler says it, and an option that was given does, too.
    """
    from ... import registry

    if options.get("testbed") is not None:
        who, said = f"--testbed {options['testbed']}", {"sampler", *SHAPE}
        if parameters := [name for name in options["settings"] if name.startswith("sampler.")]:
            raise UsageError(f"{who} draws nothing; leave --set {parameters[0]} out")
    else:
        said_sampler = options.get("sampler", RunConfig.sampler)
        samplers = said_sampler if isinstance(said_sampler, list) else [said_sampler]
        takes_it = {one.name for name in samplers for one in parameters_of(registry.load(registry.find("samplers", str(name))))}
        who, said = f"--sampler {','.join(map(str, samplers))}", {*SHAPE} - takes_it
    if twice := [name for name in ("sampler", *SHAPE) if name in said and name in options]:
        raise UsageError(f"{who} says {twice[0]} itself; leave --{twice[0]} out")
