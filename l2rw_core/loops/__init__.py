"""Reweighting in other loops than one's own plain one. Each module asks for the library whose loop it is, and no more.

============================= ============================================================ ============
module                        what is in it                                                extra
============================= ============================================================ ============
`l2rw_core.loops.lightning`   ``ReweightedModule``, a module for Lightning's trainer       lightning
`l2rw_core.loops.hf`          ``ReweightedTrainer``, a Trainer of Hugging Face             transformers
`l2rw_core.loops.sklearn`     ``ReweightedClassifier``, an estimator of scikit-learn       none
`l2rw_core.loops.loaders`     ``clean_batches`` and ``with_ids``, for a loop of your own     none
`l2rw_core.loops.distributed` ``DistributedReweighter``, for several processes             none
`l2rw_core.loops.capture`     ``CapturedStep``, steps that a GPU replays                   none
`l2rw_core.loops.tensorboard` ``write_step``, what a step saw                              tensorboard
============================= ============================================================ ============
"""
