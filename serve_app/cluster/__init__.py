"""All that touches Ray.

A bucket's actor outlives the deployment that made it, so its answers and what it is made from are pickled by one release and
read by the next, and by the one before: while a store's processes are replaced, an earlier directory asks a bucket that has
been. Pickle names a class by its module: where a module was renamed, its earlier name stays the one that is written, as long
as there may be a peer that knows no other.
"""

import sys

from serve_app.cluster import build, endpoint_answer

# The names that release 0.1.0 used.
for _earlier, _module, _class in (
    ("answers", endpoint_answer, endpoint_answer.EndpointAnswer),
    ("fingerprint", build, build.Build),
):
    _class.__module__ = f"{__name__}.{_earlier}"
    sys.modules[_class.__module__] = _module
