"""Ways to compute the alignments of a batch, one a module; `l2rw_core.scoring` chooses among them.

Each has one function ``scores(passes, batch, clean_batch, step_size)``, which returns the `Scores` of ``passes`` or
raises an error, and leaves the model as it was. Where alignments are the derivative of the training losses along the
clean gradient v, that is a function of its own, ``derivative(passes, batch, v)``.

========= ===========================================================================
module    what is in it
========= ===========================================================================
lookahead Algorithm 1 line by line
forward   one pass on the dual numbers of ``dual``; ``attention`` is for them
two_pass  PyTorch's dual numbers in a pass of their own, then the ordinary one
ghost     one backward pass, from what enters each layer and what comes back
reverse   a backward pass, differentiated once more
passes    what they share: forward passes that leave a model as it was
========= ===========================================================================
"""
