"""The engines that build an agent, behind `factory.py`. Nothing else in the worker imports deepagents or graphton."""
