"""`jitcore coverage`: our namespaces and signatures beside PyTorch's, as a page of docs."""
