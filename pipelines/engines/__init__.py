"""The engines that run a pipeline, behind one interface."""
