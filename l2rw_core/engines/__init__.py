"""Ways to compute the alignments of a batch, one a module; `l2rw_core.scoring` chooses among them.

Alignments are the derivative of the training losses along the clean gradient v. So an engine is one function
``derivative(passes, batch, v)``, which returns losses, slopes and buffers or raises an error, and leaves the model as
it was. ``lookahead``, which differentiates the clean loss itself, has ``scores(passes, batch, clean_batch, alpha)``.

========== ===========================================================================
module     what is in it
========== ===========================================================================
lookahead  Algorithm 1 line by line
forward    one pass on the dual numbers of ``dual``; ``attention`` is for them
two_pass   PyTorch's dual numbers in a pass of their own, then the ordinary one
ghost      one backward pass, from what enters each layer and what comes back
reverse    a backward pass, differentiated once more
loop       an ordinary backward pass for each example
difference losses at two points along v: an approximation
identity   how a result is checked
precision  how many digits the numbers of a pass have
passes     what they share: forward passes that leave a model as it was
========== ===========================================================================
"""
