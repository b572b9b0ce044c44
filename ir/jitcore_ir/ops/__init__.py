"""Every primitive operation, by family. `from jitcore_ir import ops; ops.ADD`."""

from .alignment import *  # noqa: F403
from .complex_numbers import *  # noqa: F403
from .contraction import *  # noqa: F403
from .control import *  # noqa: F403
from .creation import *  # noqa: F403
from .custom import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .fourier import *  # noqa: F403
from .indexing import *  # noqa: F403
from .linear_algebra import *  # noqa: F403
from .movement import *  # noqa: F403
from .order import *  # noqa: F403
from .reduction import *  # noqa: F403
from .special import *  # noqa: F403
from .structure import *  # noqa: F403
