"""`bench`: the core workloads of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010) against a
store that runs.

`distributions.py` draws keys as YCSB's source does, `workloads.py` has the mixes, `values.py` what is stored and how it is
checked, `measurements.py` the figures, `driver.py` the clients, `command.py` what can be typed.
"""
