"""The console of the order pipeline: pages over the functions that the command `orders` uses.

A screen is a module in `screens/` with a function `section(desk)`, its templates are in `screens/templates/`, and
`app.py` lists it. What every console has (the guard, the poller, the timeline, the look) is in `durable_local.console`.
"""
