"""Recording a run of user code into a Graph, and everything needed to replay it honestly."""
