"""The reproduced sources, one package or module each, with their recipes, tables and statements; and a table of all defences.

They register their declarations with `experiments` and `claims`, which know no source by name. To add a source, write a module
here and add its name below, to the import and to the order in which claims are shown.
"""

from adv_networks.claims import register
from adv_networks.papers import cifar_report, direct_approach, gan_poster, red_blue, survey, survey_defences, verdict

__all__ = ["cifar_report", "direct_approach", "gan_poster", "red_blue", "survey", "survey_defences", "verdict"]

for _module in (direct_approach, gan_poster, red_blue, cifar_report, survey):
    register(_module.SOURCE)
