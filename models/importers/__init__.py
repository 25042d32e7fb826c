"""Import of models of other frameworks: each is converted by its own framework, in an environment of its own.

::

    source > detect > converter (child process in the framework's environment) > draft of the manifest > parity check

`import_model` runs the steps. The modules of ``converters`` are scripts for the other environments: nothing here
imports them.
"""
