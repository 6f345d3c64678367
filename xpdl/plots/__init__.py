"""Pictures, each drawn into one Axes of matplotlib, ``ax``, or into a new figure, and handed back to be adorned.

history     curves: cost, accuracy or any other number of each epoch, of one or several runs
boundary    decision_boundary: what a classifier makes of the plane
confusion   confusion_matrix: which labels were taken for which
images      worst_images: the samples of the highest cost; weight_images: what the first layer looks for
gradients   gradient_map, gradient_maps, gradient_scatter: what a gradient check has found, entry by entry

Whoever cannot tell colours apart loses nothing: markers and line styles say the same, and the colours are those of
Okabe and Ito or scales that are as safe.  Needs matplotlib: pip install "xpdl[plot]".
"""

from xpdl.plots.boundary import decision_boundary
from xpdl.plots.confusion import confusion_matrix
from xpdl.plots.gradients import gradient_map, gradient_maps, gradient_scatter
from xpdl.plots.history import curves
from xpdl.plots.images import weight_images, worst_images

__all__ = [
    "confusion_matrix",
    "curves",
    "decision_boundary",
    "gradient_map",
    "gradient_maps",
    "gradient_scatter",
    "weight_images",
    "worst_images",
]
