"""The tests themselves: what the plugin does on a real cluster. `conftest.py` says how they come by one."""
