"""Rows of the paper's tables by name: a method, then its stages, as in ``s-model+conf+es+ft``."""

from __future__ import annotations

from dataclasses import dataclass

from l2rw_core import methods

_REGISTERED = {"mentornet": "mentornet_pd"}


@dataclass(frozen=True)
class Row:
    """What the name of a row says."""

    method: str
    """As the tables call it, for example ``s-model``."""
    stages: tuple[str, ...] = ()
    """``conf``: starts from a plain model's confusions; ``es``: the shorter schedule; ``ft``: fine-tuning on the clean
    set; ``held-out``: labels are scored by models that did not train on them."""

    @classmethod
    def from_name(cls, name: str) -> Row:
        """The row of that name, without a check that there is such a method."""
        method, *stages = name.split("+")
        return cls(method, tuple(stages))

    def __str__(self) -> str:
        return "+".join((self.method, *self.stages))

    @property
    def registered(self) -> str:
        """The name of the method in `l2rw_core.methods`."""
        name = _REGISTERED.get(self.method, self.method).replace("-", "_")
        return f"{name}_conf" if "conf" in self.stages else name

    @property
    def uses_clean(self) -> bool:
        """Whether it looks at clean labels, in its method or by fine-tuning."""
        return methods.get(self.registered).uses_clean or "ft" in self.stages

    @property
    def sees_clean(self) -> str:
        """What it knows of true labels, in the words of a table: ``no``, ``yes``, or ``all of them`` for an oracle."""
        if methods.get(self.registered).uses_truth:
            return "all of them"
        return "yes" if self.uses_clean else "no"
