"""The sources that are reproduced, one package or module each: their recipes, tables and statements; and a table over all.

They register what they declare with `experiments` and `claims`, which know no source by name. A new source is one module here
and its name below, in the import and in the order in which claims are shown.
"""

from adv_networks.claims import register
from adv_networks.papers import cifar_report, direct_approach, gan_poster, red_blue, survey, survey_defences, verdict

__all__ = ["cifar_report", "direct_approach", "gan_poster", "red_blue", "survey", "survey_defences", "verdict"]

for _module in (direct_approach, gan_poster, red_blue, cifar_report, survey):
    register(_module.SOURCE)
