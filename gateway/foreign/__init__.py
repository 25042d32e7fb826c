"""Doors for the clients of other servers: Open Inference Protocol (KServe v2, Triton) and TensorFlow Serving's REST.

They only translate: a request goes the way of every other one (`gateway.inspections`).
"""
