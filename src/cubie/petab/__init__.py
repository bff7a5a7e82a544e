"""Problems of parameter estimation in PEtab: all experiments as one batch, with their likelihood.

Schmiester et al.: PEtab - Interoperable specification of parameter estimation problems in systems
biology. PLoS Comput Biol 17(1), 2021.
"""

from cubie.petab.problem import PetabProblem, load_petab

__all__ = ["PetabProblem", "load_petab"]
