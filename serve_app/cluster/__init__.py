"""All that touches Ray.

A bucket's actor outlives the deployment that made it, so its answers and what it is made from are pickled by one release and
read by the next. Pickle names a class by its module: where a module was renamed, its earlier name stays good for reading.
"""

import sys

from serve_app.cluster import build, endpoint_answer

# The names that release 0.1.0 used.
sys.modules[f"{__name__}.answers"] = endpoint_answer
sys.modules[f"{__name__}.fingerprint"] = build
