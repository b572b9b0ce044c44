"""`jitcore operators`: PyTorch's own operator database run against jitcore, one verdict per operator."""
