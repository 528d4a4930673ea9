"""Reweighting inside training loops that others wrote. Each module asks for the library whose loop it is, and no more.

=============================== ====================================================== ============
module                          what is in it                                          extra
=============================== ====================================================== ============
`l2rw_core.adapters.lightning`  ``ReweightedModule``, a module for Lightning's trainer lightning
`l2rw_core.adapters.hf`         ``ReweightedTrainer``, a Trainer of Hugging Face       transformers
`l2rw_core.adapters.sklearn`    ``ReweightedClassifier``, an estimator of scikit-learn none
=============================== ====================================================== ============
"""
