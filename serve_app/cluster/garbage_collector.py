"""Python's cyclic garbage collector, told what a serving process looks like.

Ray, Serve and FastAPI leave some hundred thousand objects that live as long as the process; going through them again and
again costs time on every request and pauses of tens of milliseconds. They are set aside (`gc.freeze`), and young objects,
nearly all freed by reference counts alone, are looked at less often.
"""

import gc

#: Allocations beyond deallocations before the youngest generation is looked at (CPython's default is 700).
_THRESHOLD = 20_000


def collect_less_often() -> None:
    """Set aside all that lives now. Called once a process is set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 10, 10)
